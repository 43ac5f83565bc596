import type { Interceptor } from "@connectrpc/connect";
import type { Policy } from "../policy/policy.ts";
import { isYes, recordOf, refusal } from "../policy/refusal.ts";
import { callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";
import { questionOf } from "./question.ts";
import { requestFacts } from "./request.ts";

/** Of what the caller's program says that it is, so many characters. */
const maxClient = 256;

/** Does policy permit this very call? Only a clean yes is one. */
export function policyLink(policy: Policy): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { action } = governanceOf(req.method);
    const { reason, emergency, ticket } = requestFacts(req.method, call.request);
    call.client = (req.header.get("user-agent") ?? "").slice(0, maxClient);
    const { target: workflow, brake } = call;
    const decision = await policy.check(
      questionOf(call, { action, workflow, brake, reason, emergency, ticket }),
      req.signal,
    );
    call.decision = recordOf(decision);
    if (!isYes(decision)) throw refusal(action, decision);
    return next(req);
  };
}
