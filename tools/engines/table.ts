import type { Capabilities } from "../../src/engines/engine.ts";
import { gateCapabilities } from "../../src/engines/gate/capabilities.ts";
import { restateCapabilities } from "../../src/engines/restate/capabilities.ts";

/** What an adapter declares, in each of its engine's modes. */
export const declared: Readonly<Record<string, Capabilities>> = {
  "Restate 1.7": restateCapabilities.default,
  "Restate, virtual queues": restateCapabilities.virtualQueues,
  Gate: gateCapabilities,
};

/** What each capability is called and how its values are told: a new one does not compile before it has both. */
const rows: { readonly [Key in keyof Capabilities]: { title: string; tell: (value: Capabilities[Key]) => string } } = {
  halt: {
    title: "How it is halted",
    tell: (halt) =>
      ({ native: "by its own pause", gate: "its runtime asks before each step, and the answer waits" })[halt],
  },
  haltsAt: {
    title: "Where a workflow comes to a stand",
    tell: (at) =>
      ({
        beforeStep: "before its next step; asleep or waiting, once it wakes",
        betweenSteps: "wherever no step is in flight, also asleep or waiting",
        anywhere: "anywhere, in the middle of a step too",
      })[at],
  },
  stepInFlight: {
    title: "The step in flight",
    tell: (step) =>
      ({ finishes: "finishes, its result is kept", reruns: "is cut off and **runs again** on release" })[step],
  },
  settleMs: {
    title: "After it is shown as paused, a step may still begin for",
    tell: (ms) => (ms === 0 ? "no time" : `${ms} ms: PAUSED is said after that`),
  },
  haltsPending: {
    title: "Scheduled and queued workflows",
    tell: (can) => (can ? "held before they begin" : "caught when they come up: without a gate, one step is usual"),
  },
  timersRunOn: {
    title: "Timers of what is held",
    tell: (run) => (run ? "run on: what is due goes on at once on release" : "stand as well"),
  },
  pausesChildren: {
    title: "Children of what is held",
    tell: (does) => (does ? "held with it" : "run on, unless the brake takes descendants along"),
  },
  releaseTakesBack: {
    title: "Released before it stands",
    tell: (does) => (does ? "goes on" : "may still come to a stand, and is released once more"),
  },
  outlastsRestart: {
    title: "When the engine restarts, it remembers",
    tell: (which) =>
      ({
        accepted: "every hold that it accepted",
        standing: "what stands; the rest is asked for again",
        none: "nothing; all is asked for again",
      })[which],
  },
  stepsFrom: {
    title: "Steps and traces are from",
    tell: (where) => ({ journal: "its durable journal", reports: "what workers report of themselves" })[where],
  },
};

/** The table of docs/engines.md: a capability in each line, an engine in each column. */
export function capabilityTable(): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const names = Object.keys(declared);
  const keys = Object.keys(rows) as (keyof Capabilities)[];
  return [
    line(["", ...names]),
    line(["---", ...names.map(() => "---")]),
    ...keys.map((key) => line([rows[key].title, ...Object.values(declared).map((of) => told(key, of))])),
  ].join("\n");
}

function told<Key extends keyof Capabilities>(key: Key, capabilities: Capabilities): string {
  return rows[key].tell(capabilities[key]);
}
