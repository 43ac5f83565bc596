import type { KeyState } from "../identity/keys.ts";
import type { Verifier } from "../identity/verify.ts";
import type { Component, ComponentReport } from "./health.ts";

const statuses = { fresh: "healthy", stale: "degraded", down: "unhealthy" } as const satisfies Record<
  KeyState["status"],
  ComponentReport["status"]
>;

/** One component for each issuer: whether its keys are fresh, stale, or down, with why and since when. */
export function issuerComponents(verifier: Pick<Verifier, "keys">): Component[] {
  return verifier.keys().map(({ issuer }) => ({
    name: `issuer/${issuer}`,
    check: () => {
      const state = verifier.keys().find((one) => one.issuer === issuer)?.state;
      if (state === undefined) throw new Error("it is not there any more");
      return { status: statuses[state.status], message: state.message };
    },
  }));
}
