import type { Interceptor } from "@connectrpc/connect";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Access } from "../policy/access.ts";
import type { BrakeFacts } from "../policy/policy.ts";
import type { Reach } from "../policy/reach.ts";
import { principalOf, reachOf } from "./authorize.ts";
import { type Call, callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";

/** Looks up a workflow by its id, or the engine's own. Rejects with WORKFLOW_NOT_FOUND and the like, also where it is beyond. */
export type ResolveTarget = (workflowId: string, sight: Reach, signal: AbortSignal) => Promise<Workflow>;

/** Looks up the brake that the call would engage, approve or release; undefined where it does none of that. */
export type ResolveBrake = (call: Call, signal: AbortSignal) => Promise<BrakeFacts | undefined>;

/**
 * Which workflow, which brake is the call about? Policies speak about it, and the ledger names the workflow by its full id. A
 * workflow that the caller may neither see nor do this to is not found, exactly like one that no engine knows.
 */
export function targetLink(resolve: ResolveTarget, access: Access, resolveBrake: ResolveBrake): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { target: field, permission } = governanceOf(req.method);
    const asked = requestFacts(req.method, call.request).target;
    if (field !== undefined && asked !== "") {
      const principal = principalOf(call);
      const reach = reachOf(call);
      const target = await resolve(asked, reach.or(access.sight(principal)), req.signal);
      call.target = target;
      if (!reach.admits(target.engine, target)) {
        throw new MissionControlError(
          "ROLE_DENIED",
          `${req.method.name} needs the permission ${permission} for "${target.workflowId}", which is beyond the scope of the roles that give it to ${principal.subject}: mctl can --list tells what they allow`,
          { metadata: { permission, roles: principal.roles.join(","), workflow_id: target.workflowId } },
        );
      }
    }
    const brake = await resolveBrake(call, req.signal);
    if (brake) call.brake = brake;
    return next(req);
  };
}
