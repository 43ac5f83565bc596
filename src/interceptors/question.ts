import type { PolicyQuestion } from "../policy/policy.ts";
import { hideTokens } from "../proof/secrets.ts";
import { principalOf } from "./authorize.ts";
import type { Call } from "./context.ts";

/** What of a question does not follow from the call. */
export type Asked = Pick<
  PolicyQuestion,
  "action" | "workflow" | "brake" | "reason" | "emergency" | "ticket" | "hypothetical"
>;

/** What policy is asked about a call: this, by this caller, now, from there. */
export function questionOf(call: Call, asked: Asked): PolicyQuestion {
  const { reason, ticket } = asked;
  return {
    ...asked,
    // What was pasted where it does not belong is told to no remote either.
    reason: hideTokens(reason),
    ...(ticket !== undefined && { ticket: hideTokens(ticket) }),
    principal: principalOf(call),
    time: new Date(call.startTime),
    protocol: call.protocol,
    source: call.source,
    client: call.client ?? "",
  };
}
