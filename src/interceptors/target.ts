import type { Interceptor } from "@connectrpc/connect";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";

/** Looks up a workflow by its id, or the engine's own. Rejects with WORKFLOW_NOT_FOUND and the like. */
export type ResolveTarget = (workflowId: string, signal: AbortSignal) => Promise<Workflow>;

/** Which workflow is the call about? Policies speak about it, and the ledger names it by its full id. */
export function targetLink(resolve: ResolveTarget): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    if (governanceOf(req.method).target !== undefined) {
      call.target = await resolve(requestFacts(req.method, call.request).target, req.signal);
    }
    return next(req);
  };
}
