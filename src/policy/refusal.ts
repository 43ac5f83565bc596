import { create } from "@bufbuild/protobuf";
import { DecisionSchema, type Decision as EntryDecision } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError, type Reason } from "../errors.ts";
import type { Decision } from "./decision.ts";

/** True for a clean yes, and for nothing else, whatever a decision point came up with. */
export function isYes(decision: Decision): boolean {
  return decision.allowed === true && decision.failed === false;
}

/** The decision as the ledger keeps it. */
export function recordOf(decision: Decision): EntryDecision {
  const { message, policyIds, policySetHash, bypassed } = decision;
  return create(DecisionSchema, {
    allowed: isYes(decision),
    message,
    policyIds: [...policyIds],
    policySetHash,
    bypassed: [...bypassed],
  });
}

/**
 * The refusal that follows from a decision: POLICY_DENIED with what policy says against it, POLICY_ERROR or POLICY_UNAVAILABLE
 * where it could not say. Its metadata name the policies, and the decision points that did not permit.
 *
 * @param subject what is denied, where the call's own target does not say it.
 */
export function refusal(
  action: string,
  decision: Decision,
  subject: Record<string, string> = {},
  before = "",
): MissionControlError {
  const reason: Reason = !decision.failed
    ? "POLICY_DENIED"
    : decision.unreachable
      ? "POLICY_UNAVAILABLE"
      : "POLICY_ERROR";
  const against = decision.points.filter(({ outcome }) => outcome !== "allowed" && outcome !== "bypassed");
  return new MissionControlError(reason, `${before}${decision.message}`, {
    metadata: {
      action,
      ...subject,
      policy_message: decision.message,
      policy_ids: decision.policyIds.join(","),
      policy_set_hash: decision.policySetHash,
      decided_by: against.map(({ point }) => point).join(","),
    },
  });
}
