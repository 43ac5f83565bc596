import { isDeepStrictEqual } from "node:util";
import type { Logger } from "../log.ts";
import { askCedar, type CedarAnswer, type CedarPolicies, forgetPolicies, parsePolicies } from "./cedar.ts";
import type { PointDecision } from "./decision.ts";
import type { DecisionPoint, PolicyQuestion } from "./policy.ts";
import type { PolicySet } from "./policy-files.ts";

/** The embedded decision point: Cedar over the policies of a folder. */
export class EmbeddedPoint implements DecisionPoint {
  readonly name = "cedar";
  readonly #log: Logger;
  #policies: CedarPolicies;

  constructor(set: PolicySet, log: Logger) {
    this.#policies = parsePolicies(set);
    this.#log = log;
  }

  /** The policies that it decides by. */
  get set(): PolicySet {
    return this.#policies.set;
  }

  /** From now on it decides by these. */
  replace(set: PolicySet): void {
    const before = this.#policies;
    this.#policies = parsePolicies(set);
    forgetPolicies(before);
  }

  async decide(question: PolicyQuestion): Promise<PointDecision> {
    const began = performance.now();
    const { set } = this.#policies;
    const answer = this.#ask(question);
    const { allowed, failure, policyIds } = answer;
    return {
      point: this.name,
      outcome: allowed ? "allowed" : failure === "" ? "denied" : "failed",
      message: allowed ? "" : failure === "" ? denial(question, set, policyIds) : failed(policyIds),
      policyIds,
      policySetHash: set.hash,
      cached: false,
      durationMs: performance.now() - began,
    };
  }

  async decideAll(questions: readonly PolicyQuestion[]): Promise<PointDecision[]> {
    const decided: PointDecision[] = [];
    let before: { readonly question: PolicyQuestion; readonly decision: PointDecision } | undefined;
    for (const question of questions) {
      // A fleet's are mostly the same, one after the other.
      if (before === undefined || !this.#looksTheSame(before.question, question)) {
        before = { question, decision: await this.decide(question) };
      }
      decided.push(before.decision);
      // Each takes up to a third of a millisecond of this process: others have their turn in between.
      if (decided.length % pauseEvery === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return decided;
  }

  /** True where they are about two workflows that no policy can tell apart, and the same otherwise. */
  #looksTheSame(one: PolicyQuestion, other: PolicyQuestion): boolean {
    const { workflow: a } = one;
    const { workflow: b } = other;
    if (a === undefined || b === undefined || this.#policies.set.namesWorkflows) return false;
    return (
      a.engine === b.engine &&
      a.type === b.type &&
      a.name === b.name &&
      a.status === b.status &&
      a.owner === b.owner &&
      isDeepStrictEqual(a.labels, b.labels) &&
      (Object.keys({ ...one, ...other }) as (keyof PolicyQuestion)[]).every(
        (key) => key === "workflow" || one[key] === other[key] || isDeepStrictEqual(one[key], other[key]),
      )
    );
  }

  #ask(question: PolicyQuestion): CedarAnswer {
    let answer: CedarAnswer;
    try {
      answer = askCedar(this.#policies, question);
    } catch (error) {
      answer = { allowed: false, failure: error instanceof Error ? error.message : String(error), policyIds: [] };
    }
    if (answer.failure !== "") {
      const { failure, policyIds } = answer;
      this.#log.error(
        { failure, policyIds, action: question.action },
        "policy could not be evaluated: the call is denied",
      );
    }
    return answer;
  }
}

const pauseEvery = 100;

function denial(question: PolicyQuestion, set: PolicySet, policyIds: readonly string[]): string {
  if (policyIds.length === 0) return `no policy permits ${question.action} here`;
  const messages = policyIds.flatMap((id) => set.messages.get(id) ?? []);
  return messages.length > 0 ? messages.join("; ") : `${question.action} is forbidden by ${policyIds.join(", ")}`;
}

function failed(policyIds: readonly string[]): string {
  const which = policyIds.length === 0 ? "policy" : `policy ${policyIds.join(", ")}`;
  return `${which} could not be evaluated, which is a no; the server's log says why`;
}
