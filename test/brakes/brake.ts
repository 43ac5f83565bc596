import type { Observation, ObservedStep } from "../../src/engines/engine.ts";
import type { Brake, Halt, Held, Hold } from "../../src/store/brake.ts";
import { brake, hold } from "../store/entry.ts";

/** A hold that was asked for at 1000 ms by a brake, and what a test says about them. */
export function held(about: { brake?: Partial<Brake>; hold?: Partial<Hold>; halt?: Partial<Halt> } = {}): Held {
  const given = hold({ catchTime: 1_000, ...about.hold });
  return {
    brake: brake({ createTime: 1_000, engageTime: 1_000, ...about.brake }),
    hold: { ...given, halt: { ...given.halt, requestTime: 1_000, ...about.halt } },
  };
}

/** What an engine showed of a workflow that runs and is between two steps, and what a test says about it. */
export function seen(about: Partial<Observation> = {}): Observation {
  return { status: "running", phase: "running", steps: [], hidesStep: false, ...about };
}

/** A step from one moment to another; without an end it is in flight, or was cut off. */
export function step(name: string, start: number, end?: number): ObservedStep {
  return {
    index: start,
    name,
    startTime: new Date(start),
    endTime: end === undefined ? undefined : new Date(end),
    succeeded: end !== undefined,
    failing: false,
  };
}
