import type { Capabilities } from "../engine.ts";

/** What a runtime that asks before each step can do. */
export const gateCapabilities: Capabilities = {
  halt: "gate",
  haltsAt: "beforeStep",
  stepInFlight: "finishes",
  settleMs: 0,
  haltsPending: true,
  timersRunOn: true,
  pausesChildren: false,
  releaseTakesBack: true,
  outlastsRestart: "accepted",
  stepsFrom: "reports",
};
