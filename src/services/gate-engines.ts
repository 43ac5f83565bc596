import type { GateEngine } from "../engines/gate.ts";
import type { Component } from "./health.ts";

/** What health says of an engine that is kept here: nobody else can be asked for it. */
export function gateEngineComponent({ name, runs }: GateEngine): Component {
  return {
    name: `engine/${name}`,
    engine: name,
    check: () => {
      if (runs.fault) return { status: "degraded", message: `reports cannot be written: ${runs.fault.message}` };
      return { status: "healthy", message: `${runs.openCount} workflows open, ${runs.waiting} steps held at the gate` };
    },
  };
}
