import type { Interceptor } from "@connectrpc/connect";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { BrakeFacts } from "../policy/policy.ts";
import { type Call, callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";

/** Looks up a workflow by its id, or the engine's own. Rejects with WORKFLOW_NOT_FOUND and the like. */
export type ResolveTarget = (workflowId: string, signal: AbortSignal) => Promise<Workflow>;

/** Looks up the brake that the call would engage, approve or release; undefined where it does none of that. */
export type ResolveBrake = (call: Call, signal: AbortSignal) => Promise<BrakeFacts | undefined>;

/** Which workflow, which brake is the call about? Policies speak about it, and the ledger names the workflow by its full id. */
export function targetLink(resolve: ResolveTarget, resolveBrake: ResolveBrake): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    if (governanceOf(req.method).target !== undefined) {
      call.target = await resolve(requestFacts(req.method, call.request).target, req.signal);
    }
    const brake = await resolveBrake(call, req.signal);
    if (brake) call.brake = brake;
    return next(req);
  };
}
