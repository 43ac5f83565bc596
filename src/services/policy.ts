import type { PolicyReload } from "../policy/reload.ts";
import type { Component } from "./health.ts";

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
