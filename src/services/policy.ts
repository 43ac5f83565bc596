import type { MessageInitShape } from "@bufbuild/protobuf";
import { PolicyPoint_Outcome as Outcome, type PolicyDecisionSchema } from "../../gen/missioncontrol/v1/access_pb.ts";
import type { Decision } from "../policy/decision.ts";
import { isYes } from "../policy/refusal.ts";
import type { PolicyReload } from "../policy/reload.ts";
import type { Component } from "./health.ts";

const outcomes = {
  allowed: Outcome.ALLOWED,
  denied: Outcome.DENIED,
  failed: Outcome.FAILED,
  unreachable: Outcome.UNREACHABLE,
  bypassed: Outcome.BYPASSED,
} as const;

/** A decision, as it is shown. */
export function decisionMessage(decision: Decision): MessageInitShape<typeof PolicyDecisionSchema> {
  const { message, policyIds, policySetHash, points } = decision;
  return {
    allowed: isYes(decision),
    ...{ message, policySetHash },
    policyIds: [...policyIds],
    points: points.map(({ point, outcome, message, policyIds, cached }) => ({
      ...{ point, message, cached },
      outcome: outcomes[outcome],
      policyIds: [...policyIds],
    })),
  };
}

/** Which embedded policies decide, and whether they are those of their folder. */
export function embeddedPolicyComponent(reload: PolicyReload): Component {
  return {
    name: "policy/cedar",
    check: () => {
      const { hash, policies, fault } = reload.state;
      const now = `${policies} policies, set ${hash.slice(0, 12)}`;
      if (fault === undefined) return { status: "healthy", message: now };
      return { status: "degraded", message: `${now} goes on, since ${fault.since.toISOString()}: ${fault.message}` };
    },
  };
}
