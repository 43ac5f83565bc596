import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Policy } from "../policy/policy.ts";
import type { callerOf } from "./caller.ts";

/**
 * Letting go by another door (a brake's release, an expiry) is a resume all the same: policy has to permit it for each of the
 * workflows. Throws POLICY_DENIED with the first that it does not.
 */
export async function mayLetGo(
  policy: Policy,
  { call, principal }: ReturnType<typeof callerOf>,
  workflows: readonly Workflow[],
  asked: { readonly reason: string; readonly emergency: boolean },
  signal: AbortSignal,
): Promise<void> {
  for (const workflow of workflows) {
    const decision = await policy.check(
      {
        action: "runtime.resume",
        principal,
        workflow,
        reason: asked.reason,
        emergency: asked.emergency,
        time: new Date(call.startTime),
        protocol: call.protocol,
        source: call.source,
      },
      signal,
    );
    if (decision.allowed === true && decision.failed === false) continue;
    throw new MissionControlError(
      "POLICY_DENIED",
      `"${workflow.workflowId}" would be let go, which is denied: ${decision.message}`,
      {
        metadata: {
          action: "runtime.resume",
          workflow_id: workflow.workflowId,
          policy_ids: decision.policyIds.join(","),
          policy_set_hash: decision.policySetHash,
        },
      },
    );
  }
}
