import {
  BrokenCircuitError,
  BulkheadRejectedError,
  bulkhead,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleType,
  handleWhen,
  retry,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from "cockatiel";
import { LRUCache } from "lru-cache";
import type { Logger } from "../log.ts";
import type { Outcome, PointDecision } from "./decision.ts";
import { brakeFacts, userFacts, workflowFacts } from "./facts.ts";
import type { DecisionPoint, PolicyQuestion } from "./policy.ts";
import { AuthzenForm } from "./remote/authzen.ts";
import { faultOf, RemoteFault } from "./remote/fault.ts";
import type { RemoteAddress, RemoteAnswer, RemoteForm } from "./remote/form.ts";
import { GrpcForm } from "./remote/grpc.ts";

/** The time that a decision may take where configuration does not say, ms. */
export const defaultDeadlineMs = 250;

/** Requests at a time, and those that wait for their turn; of many questions at once, so many requests at a time. */
const limits = { requests: 256, waiting: 1_024, atOnce: 16, cached: 10_000 } as const;
/** Within the deadline: so many more attempts where nobody was there, after 10 ms, then 20 ms. */
const retries = { most: 2, firstAfterMs: 10 } as const;
/** After so many failures in a row it is not asked any more for so long; then one call tries. */
const breaking = { failures: 5, forMs: 5_000 } as const;

/** A call that may go on where a remote cannot be asked. All that is set has to match. */
export interface UnreachableRule {
  /** K-OS actions, e.g. "runtime.pause". */
  readonly actions: readonly string[];
  /** The caller has to have one of these. */
  readonly roles: readonly string[];
  /** True: only what is said to be an emergency. */
  readonly emergencyOnly: boolean;
}

/** One remote decision point. */
export interface RemoteConfig extends RemoteAddress {
  /** How it is called in health, in messages and in metrics. */
  readonly name: string;
  readonly form: "grpc" | "authzen";
  /** For the whole of a decision: connection, attempts, answer; ms. */
  readonly deadlineMs?: number | undefined;
  /** What may go on where it cannot be asked; by default nothing. */
  readonly whenUnreachable?: readonly UnreachableRule[] | undefined;
}

/** How a remote is doing. */
export interface RemoteReport {
  readonly status: "healthy" | "degraded" | "unhealthy";
  readonly message: string;
}

/** The caller left before there was a decision: that says nothing about the remote. */
class CallerLeft extends Error {}

/**
 * A remote policy decision point. Anything but a clean yes within the deadline is a no, with the reason in its message. After
 * several failures in a row it is left alone for a while, and everything is denied at once. A yes or a no is used again only
 * where the answer said for how long, and only for the very same question.
 */
export class RemotePoint implements DecisionPoint {
  readonly name: string;
  readonly #form: RemoteForm;
  readonly #deadlineMs: number;
  readonly #rules: readonly UnreachableRule[];
  readonly #log: Logger;
  readonly #breaker;
  readonly #guarded;
  readonly #cache = new LRUCache<string, RemoteAnswer>({ max: limits.cached });
  #lastAnswer: { readonly time: number; readonly ms: number } | undefined;
  /** Undefined while the last question was answered. */
  #fault: { readonly since: number; readonly last: RemoteFault } | undefined;
  #bypasses = { count: 0, lastTime: 0 };

  constructor(config: RemoteConfig, log: Logger) {
    const { name, deadlineMs = defaultDeadlineMs, whenUnreachable = [] } = config;
    this.name = name;
    this.#form = config.form === "grpc" ? new GrpcForm(config) : new AuthzenForm(config);
    this.#deadlineMs = deadlineMs;
    this.#rules = whenUnreachable;
    this.#log = log;
    this.#breaker = circuitBreaker(handleType(RemoteFault), {
      breaker: new ConsecutiveBreaker(breaking.failures),
      halfOpenAfter: breaking.forMs,
    });
    this.#breaker.onBreak(() => {
      // Whatever is wrong with the connection, the next attempt has one of its own.
      this.#form.reset();
      log.error({ remote: name, err: this.#fault?.last }, "policy: a remote is left alone for a while, all is denied");
    });
    this.#guarded = wrap(
      timeout(deadlineMs, TimeoutStrategy.Aggressive),
      bulkhead(limits.requests, limits.waiting),
      this.#breaker,
      retry(
        handleWhen((error) => error instanceof RemoteFault && error.retryable),
        { maxAttempts: retries.most, backoff: new ExponentialBackoff({ initialDelay: retries.firstAfterMs }) },
      ),
    );
  }

  async decide(question: PolicyQuestion, signal?: AbortSignal): Promise<PointDecision> {
    const [decision = this.#notSaid(question, noAnswer, 0)] = await this.#decideTogether([question], signal);
    return decision;
  }

  async decideAll(questions: readonly PolicyQuestion[], signal?: AbortSignal): Promise<PointDecision[]> {
    const { batchSize } = this.#form;
    const count = Math.ceil(questions.length / batchSize);
    const batches = Array.from({ length: count }, (_, at) => questions.slice(at * batchSize, (at + 1) * batchSize));
    const decided: PointDecision[][] = [];
    const next = batches.entries();
    const work = async () => {
      for (const [at, batch] of next) decided[at] = await this.#decideTogether(batch, signal);
    };
    await Promise.all(Array.from({ length: limits.atOnce }, work));
    return decided.flat();
  }

  /** How it is doing, as far as it was asked. */
  report(): RemoteReport {
    const { count, lastTime } = this.#bypasses;
    const bypassed =
      count === 0 ? "" : `; ${count} calls went on without it, the last at ${new Date(lastTime).toISOString()}`;
    if (this.#fault !== undefined) {
      const since = new Date(this.#fault.since).toISOString();
      const open = this.#breaker.state === CircuitState.Open;
      return {
        status: open ? "unhealthy" : "degraded",
        message: `${open ? "left alone for a while" : "does not answer"}, since ${since}: ${this.#fault.last.message}${bypassed}`,
      };
    }
    if (this.#lastAnswer === undefined) return { status: "healthy", message: `not asked yet${bypassed}` };
    const { time, ms } = this.#lastAnswer;
    return {
      status: "healthy",
      message: `answered in ${Math.round(ms)} ms at ${new Date(time).toISOString()}${bypassed}`,
    };
  }

  close(): void {
    this.#form.reset();
  }

  /** As many as one request may carry, in one request; those with an answer that is good still are left out of it. */
  async #decideTogether(questions: readonly PolicyQuestion[], signal?: AbortSignal): Promise<PointDecision[]> {
    const keys = questions.map(keyOf);
    const known = keys.map((key) => this.#cache.get(key));
    const open = questions.filter((_, at) => known[at] === undefined);
    const began = performance.now();
    const answers = open.length === 0 ? [] : await this.#ask(open, signal);
    const ms = performance.now() - began;
    let at = 0;
    return questions.map((question, index) => {
      const earlier = known[index];
      if (earlier !== undefined) return this.#said(earlier, true, 0);
      if (answers instanceof RemoteFault) return this.#notSaid(question, answers, ms);
      const answer = answers[at++];
      if (answer === undefined) return this.#notSaid(question, noAnswer, ms);
      if (answer.cacheMs > 0) this.#cache.set(keys[index] ?? "", answer, { ttl: answer.cacheMs });
      return this.#said(answer, false, ms);
    });
  }

  /** One request, with its attempts, within the deadline. Resolves to why there is no answer where there is none. */
  async #ask(questions: readonly PolicyQuestion[], caller?: AbortSignal): Promise<RemoteAnswer[] | RemoteFault> {
    const began = performance.now();
    try {
      const answers = await this.#guarded.execute(async ({ signal }) => {
        try {
          return await this.#form.ask(questions, signal);
        } catch (error) {
          if (caller?.aborted) throw new CallerLeft();
          throw signal.aborted ? this.#tooLate() : this.#note(faultOf(error));
        }
      }, caller);
      this.#lastAnswer = { time: Date.now(), ms: performance.now() - began };
      if (this.#fault) this.#log.warn({ remote: this.name }, "policy: a remote answers again");
      this.#fault = undefined;
      return answers;
    } catch (error) {
      if (caller?.aborted || error instanceof CallerLeft) return new RemoteFault("unclear", "the caller left");
      if (error instanceof TaskCancelledError) return this.#tooLate();
      if (error instanceof BulkheadRejectedError) return new RemoteFault("unclear", "too many questions at a time");
      if (error instanceof BrokenCircuitError) {
        const last = this.#fault?.last ?? noAnswer;
        return new RemoteFault(
          last.kind,
          `it failed ${breaking.failures} times in a row and is left alone for a while; the last time: ${last.message}`,
        );
      }
      return faultOf(error);
    }
  }

  #tooLate(): RemoteFault {
    return this.#note(new RemoteFault("unreachable", `no answer within ${this.#deadlineMs} ms`));
  }

  /** Remembers it, for health; the first one after an answer is logged. */
  #note(fault: RemoteFault): RemoteFault {
    if (!this.#fault) this.#log.error({ remote: this.name, err: fault }, "policy: a remote gives no clean answer");
    this.#fault = { since: this.#fault?.since ?? Date.now(), last: fault };
    return fault;
  }

  #said({ allowed, message, policyIds }: RemoteAnswer, cached: boolean, durationMs: number): PointDecision {
    const said = { point: this.name, policyIds, policySetHash: "", cached, durationMs };
    if (allowed) return { ...said, outcome: "allowed", message };
    return { ...said, outcome: "denied", message: message || `${this.name} says no, and not why` };
  }

  #notSaid(question: PolicyQuestion, fault: RemoteFault, durationMs: number): PointDecision {
    const unreachable = fault.kind === "unreachable";
    const bypassed = unreachable && this.#rules.some((rule) => goesOn(rule, question));
    const why = `${this.name} ${unreachable ? "cannot be asked" : "gave no clean answer"}: ${fault.message}`;
    const outcome: Outcome = bypassed ? "bypassed" : unreachable ? "unreachable" : "failed";
    if (bypassed && question.hypothetical !== true) this.#bypass(question, why);
    return {
      point: this.name,
      outcome,
      message: bypassed
        ? `allowed WITHOUT ${this.name}, as configured for when it cannot be asked; ${why}`
        : `${why}; that is a no`,
      policyIds: [],
      policySetHash: "",
      cached: false,
      durationMs,
    };
  }

  #bypass({ action, principal, workflow, reason }: PolicyQuestion, why: string): void {
    this.#bypasses = { count: this.#bypasses.count + 1, lastTime: Date.now() };
    this.#log.error(
      { remote: this.name, action, subject: principal.subject, target: workflow?.workflowId, reason, why },
      "POLICY BYPASSED: a call goes on without a remote that cannot be asked, as configured",
    );
  }
}

const noAnswer = new RemoteFault("unclear", "there was no answer");

function goesOn(
  { actions, roles, emergencyOnly }: UnreachableRule,
  { action, principal, emergency }: PolicyQuestion,
): boolean {
  return (
    actions.includes(action) && principal.roles.some((role) => roles.includes(role)) && (emergency || !emergencyOnly)
  );
}

/** The very same question: all that a remote is told but the time, and what follows from it. */
function keyOf(question: PolicyQuestion): string {
  const { action, workflow, brake, reason, emergency, ticket, protocol, source, client, hypothetical } = question;
  const { authentication: _, ...user } = userFacts(question);
  return JSON.stringify([
    action,
    user,
    [
      question.principal.authenticationMethod,
      question.principal.authenticationMethods,
      question.principal.authenticationContext,
    ],
    workflow && workflowFacts(workflow),
    brake && brakeFacts(brake),
    [reason, emergency, ticket, protocol, source, client, hypothetical === true],
  ]);
}
