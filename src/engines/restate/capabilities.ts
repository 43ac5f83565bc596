import type { Capabilities } from "../engine.ts";

/** A worker that was cut off has heard of it after this, ms: many times what a network takes, and a busy worker's event loop. */
const cutOffSettleMs = 500;

/** Restate as it is by default, up to 1.7: a pause waits for the step in flight. */
const waiting: Capabilities = {
  halt: "native",
  haltsAt: "betweenSteps",
  stepInFlight: "finishes",
  settleMs: 0,
  haltsPending: false,
  timersRunOn: true,
  pausesChildren: false,
  releaseTakesBack: false,
  outlastsRestart: "standing",
  stepsFrom: "journal",
};

/** What Restate can do in each of its two modes; with virtual queues a pause cuts the step in flight off. */
export const restateCapabilities = {
  default: waiting,
  virtualQueues: {
    ...waiting,
    haltsAt: "anywhere",
    stepInFlight: "reruns",
    settleMs: cutOffSettleMs,
    releaseTakesBack: true,
    outlastsRestart: "accepted",
  },
} as const satisfies Record<string, Capabilities>;
