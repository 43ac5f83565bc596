import { create } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { DecisionSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Policy } from "../policy/policy.ts";
import { principalOf } from "./authorize.ts";
import { callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";

/** Does policy permit this very call? Only a clean yes is one. */
export function policyLink(policy: Policy): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { action } = governanceOf(req.method);
    const { reason, emergency } = requestFacts(req.method, call.request);
    const decision = await policy.check(
      {
        action,
        principal: principalOf(call),
        workflow: call.target,
        reason,
        emergency,
        time: new Date(call.startTime),
        protocol: call.protocol,
        source: call.source,
      },
      req.signal,
    );
    const { failed, message, policyIds, policySetHash } = decision;
    const allowed = decision.allowed === true && failed === false;
    call.decision = create(DecisionSchema, { allowed, message, policyIds: [...policyIds], policySetHash });
    if (!allowed) {
      throw new MissionControlError(failed ? "POLICY_ERROR" : "POLICY_DENIED", message, {
        metadata: { action, policy_ids: policyIds.join(","), policy_set_hash: policySetHash },
      });
    }
    return next(req);
  };
}
