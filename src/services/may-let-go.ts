import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { questionOf } from "../interceptors/question.ts";
import type { Policy } from "../policy/policy.ts";
import { isYes, recordOf, refusal } from "../policy/refusal.ts";
import type { callerOf } from "./caller.ts";

/** So many are asked for at a time: after the first denial nobody is asked any more. */
const together = 1_000;

/**
 * Letting go by another door (a brake's release, an expiry) is a resume all the same: policy has to permit it for each of the
 * workflows. Throws POLICY_DENIED and the like with the first that it does not; that decision goes into the call's entry.
 */
export async function mayLetGo(
  policy: Policy,
  { call }: ReturnType<typeof callerOf>,
  workflows: readonly Workflow[],
  asked: { readonly reason: string; readonly emergency: boolean; readonly ticket?: string },
  signal: AbortSignal,
): Promise<void> {
  const { reason, emergency, ticket = "" } = asked;
  const action = "runtime.resume";
  for (let from = 0; from < workflows.length; from += together) {
    const some = workflows.slice(from, from + together);
    const questions = some.map((workflow) => questionOf(call, { action, workflow, reason, emergency, ticket }));
    const decisions = await policy.checkAll(questions, signal);
    for (const [at, { workflowId }] of some.entries()) {
      const decision = decisions[at];
      if (decision === undefined) throw new Error("policy left a question without a decision");
      if (isYes(decision)) continue;
      call.decision = recordOf(decision);
      const before = `"${workflowId}" would be let go, which is denied: `;
      throw refusal(action, decision, { workflow_id: workflowId }, before);
    }
  }
}
