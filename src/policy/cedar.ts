import {
  type Context,
  type EntityJson,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
} from "@cedar-policy/cedar-wasm/nodejs";
import { type Workflow, Workflow_StatusSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Logger } from "../log.ts";
import type { Decision } from "./decision.ts";
import type { Policy, PolicyQuestion } from "./policy.ts";
import { type PolicySet, readPolicies } from "./policy-files.ts";

const system = { type: "System", id: "mission-control" };

/**
 * The embedded policy decision point: the Cedar policies of a folder, parsed once. Throws an Error that names file and
 * fault where they cannot be used.
 *
 * Cedar skips a policy that it cannot evaluate, be it a forbid. Here that is a denial: whatever is unclear is a no.
 */
export async function openCedar(dir: string, log: Logger): Promise<Policy> {
  const set = await readPolicies(dir);
  // Cedar keeps what was parsed by name, for the life of the process: the same set is parsed once.
  const name = `mission-control-${set.hash}`;
  for (const answer of [
    preparseSchema(name, set.schema),
    preparsePolicySet(name, { staticPolicies: { ...set.policies } }),
  ]) {
    if (answer.type === "failure") throw new Error(`policies in ${dir} cannot be used: ${answer.errors[0]?.message}`);
  }
  return {
    async check(question) {
      try {
        return decide(question, set, name, log);
      } catch (error) {
        return failure(set, [], error, log);
      }
    },
  };
}

function decide(question: PolicyQuestion, set: PolicySet, name: string, log: Logger): Decision {
  const { principal, workflow } = question;
  const user = { type: "User", id: `${principal.issuer}|${principal.subject}` };
  const answer = statefulIsAuthorized({
    principal: user,
    action: { type: "Action", id: question.action },
    resource: workflow === undefined ? system : workflowUid(workflow),
    context: context(question),
    preparsedSchemaName: name,
    validateRequest: true,
    preparsedPolicySetId: name,
    entities: [
      {
        uid: user,
        attrs: { issuer: principal.issuer, subject: principal.subject },
        parents: principal.roles.map((role) => ({ type: "Role", id: role })),
      },
      workflow === undefined ? { uid: system, attrs: {}, parents: [] } : workflowEntity(workflow),
    ],
  });
  if (answer.type === "failure") return failure(set, [], answer.errors, log);
  const { decision, diagnostics } = answer.response;
  if (diagnostics.errors.length > 0) {
    const failed = diagnostics.errors.map(({ policyId }) => policyId);
    return failure(set, failed, diagnostics.errors, log);
  }
  const allowed = decision === "allow";
  return {
    allowed,
    failed: false,
    message: allowed ? "" : denial(question, set, diagnostics.reason),
    policyIds: diagnostics.reason,
    policySetHash: set.hash,
  };
}

function denial(question: PolicyQuestion, set: PolicySet, policyIds: readonly string[]): string {
  if (policyIds.length === 0) return `no policy permits ${question.action} here`;
  const messages = policyIds.flatMap((id) => set.messages.get(id) ?? []);
  return messages.length > 0 ? messages.join("; ") : `${question.action} is forbidden by ${policyIds.join(", ")}`;
}

function failure(set: PolicySet, policyIds: readonly string[], error: unknown, log: Logger): Decision {
  log.error({ err: error, policyIds }, "policy could not be evaluated: the call is denied");
  const which = policyIds.length === 0 ? "policy" : `policy ${policyIds.join(", ")}`;
  return {
    allowed: false,
    failed: true,
    message: `${which} could not be evaluated, which is a no; the server's log says why`,
    policyIds,
    policySetHash: set.hash,
  };
}

function context({ reason, emergency, time, protocol, source }: PolicyQuestion): Context {
  return {
    reason: reason.trim(),
    emergency,
    now: time.getTime(),
    hour: time.getUTCHours(),
    weekday: time.getUTCDay() === 0 ? 7 : time.getUTCDay(),
    protocol,
    source,
  };
}

function workflowUid(workflow: Workflow): { type: string; id: string } {
  return { type: "Workflow", id: workflow.workflowId };
}

function workflowEntity(workflow: Workflow): EntityJson {
  const { engine, type, name, owner, labels } = workflow;
  const status = Workflow_StatusSchema.value[workflow.status]?.name ?? "STATUS_UNSPECIFIED";
  return { uid: workflowUid(workflow), attrs: { engine, type, name, status, owner }, parents: [], tags: { ...labels } };
}
