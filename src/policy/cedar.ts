import {
  type AuthorizationAnswer,
  type Context,
  type EntityJson,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
} from "@cedar-policy/cedar-wasm/nodejs";
import { LRUCache } from "lru-cache";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { authenticationAgeOf, clockOf, statusNameOf } from "./facts.ts";
import { freezesAt } from "./freezes.ts";
import type { BrakeFacts, PolicyQuestion } from "./policy.ts";
import type { PolicySet } from "./policy-files.ts";
import { Relevance } from "./relevance.ts";

const system = { type: "System", id: "mission-control" };
/** What policies see where there is no bound: Cedar's numbers have no infinity. */
export const unlimited = Number.MAX_SAFE_INTEGER;

/** Answers that are remembered, and how long all questions that they are to may be together, in characters. */
const remembered = { answers: 10_000, characters: 16 * 1024 * 1024 } as const;

/** A policy set that Cedar has parsed. */
export interface CedarPolicies {
  readonly set: PolicySet;
  /** What Cedar keeps it by. */
  readonly name: string;
  readonly relevance: Relevance;
  /** What it said before, by all that it can have looked at: the same facts make the same answer. */
  readonly answers: LRUCache<string, CedarAnswer>;
}

/** What Cedar says. */
export interface CedarAnswer {
  readonly allowed: boolean;
  /** Why there is no decision; "" where there is one. */
  readonly failure: string;
  /** The policies that decided, or those that failed. */
  readonly policyIds: readonly string[];
}

/** Names of what Cedar has parsed and nobody needs any more: it keeps what it is given, by name, until the name is used again. */
const freeNames: string[] = [];
let names = 0;

/** Has Cedar parse a policy set, which was validated. Throws an Error that names the fault. */
export function parsePolicies(set: PolicySet): CedarPolicies {
  const name = freeNames.pop() ?? `mission-control-${++names}`;
  for (const answer of [
    preparseSchema(name, set.schema),
    preparsePolicySet(name, { staticPolicies: { ...set.policies } }),
  ]) {
    if (answer.type === "failure") {
      freeNames.push(name);
      throw new Error(`policies in ${set.dir} cannot be used: ${answer.errors[0]?.message}`);
    }
  }
  const relevance = new Relevance(Object.values(set.policies));
  const { answers: max, characters: maxSize } = remembered;
  const answers = new LRUCache<string, CedarAnswer>({ max, maxSize, sizeCalculation: (_, key) => key.length });
  return { set, name, relevance, answers };
}

/** They are not asked any more. */
export function forgetPolicies({ name }: CedarPolicies): void {
  freeNames.push(name);
}

/**
 * Asks Cedar. Cedar skips a policy that it cannot evaluate, be it a forbid: here that is a failure, for whatever is unclear is
 * a no. Throws what Cedar throws.
 */
export function askCedar({ set, name, relevance, answers }: CedarPolicies, question: PolicyQuestion): CedarAnswer {
  const request = requestOf(question, set);
  const key = JSON.stringify([request.action.id, request.entities, relevance.of(request.context)]);
  const before = answers.get(key);
  if (before !== undefined) return before;
  const answer = read(
    statefulIsAuthorized({
      ...request,
      preparsedSchemaName: name,
      validateRequest: true,
      preparsedPolicySetId: name,
    }),
  );
  if (answer.failure === "") answers.set(key, answer);
  return answer;
}

/** Policies see what a workflow is called only as a literal: where none names one, all that look the same are asked as one. */
function requestOf(question: PolicyQuestion, set: PolicySet) {
  const { principal, workflow } = question;
  const workflowId = set.namesWorkflows ? (workflow?.workflowId ?? "") : "";
  const user = { type: "User", id: `${principal.issuer}|${principal.subject}` };
  const resource = workflow === undefined ? system : { type: "Workflow", id: workflowId };
  return {
    principal: user,
    action: { type: "Action", id: question.action },
    resource,
    context: context(question, set),
    entities: [
      {
        uid: user,
        attrs: {
          issuer: principal.issuer,
          subject: principal.subject,
          machine: principal.machine === true,
          tenant: principal.tenant ?? "",
        },
        parents: principal.roles.map((role) => ({ type: "Role", id: role })),
      },
      workflow === undefined ? { uid: system, attrs: {}, parents: [] } : workflowEntity(resource, workflow),
    ],
  };
}

function read(answer: AuthorizationAnswer): CedarAnswer {
  if (answer.type === "failure") {
    return { allowed: false, failure: answer.errors.map(({ message }) => message).join("; "), policyIds: [] };
  }
  const { decision, diagnostics } = answer.response;
  if (diagnostics.errors.length > 0) {
    return {
      allowed: false,
      failure: diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`).join("; "),
      policyIds: diagnostics.errors.map(({ policyId }) => policyId),
    };
  }
  // Cedar names them in an order that is another one each time.
  return { allowed: decision === "allow", failure: "", policyIds: diagnostics.reason.toSorted() };
}

function context(question: PolicyQuestion, set: PolicySet): Context {
  const { reason, emergency, ticket = "", time, protocol, source, client = "", brake, principal } = question;
  const age = authenticationAgeOf(question);
  return {
    reason: reason.trim(),
    emergency,
    ticket: ticket.trim(),
    now: time.getTime(),
    ...clockOf(time),
    freezes: freezesAt(set.freezes, time),
    protocol,
    source,
    client,
    authentication: {
      method: principal.authenticationMethod,
      methods: [...(principal.authenticationMethods ?? [])],
      level: principal.authenticationContext ?? "",
      ...(age !== undefined && { age }),
    },
    ...(brake && { brake: brakeRecord(brake) }),
  };
}

function brakeRecord({ brakeId, radius, ...facts }: BrakeFacts) {
  return { id: brakeId, radius: Math.min(radius, unlimited), ...facts };
}

function workflowEntity(uid: { type: string; id: string }, workflow: Workflow): EntityJson {
  const { engine, type, name, owner, labels } = workflow;
  const attrs = { engine, type, name, status: statusNameOf(workflow), owner };
  return { uid, attrs, parents: [], tags: { ...labels } };
}
