import type { Observation } from "../../src/engines/engine.ts";
import type { Brake, Halt } from "../../src/store/brake.ts";

const halt: Halt = {
  foundPaused: false,
  acceptTime: undefined,
  standstillTime: undefined,
  pausePending: true,
  stepsInFlight: [],
  stepsStartedBefore: 0,
  stepsStartedAfterAccept: undefined,
  stepsStartedAtRelease: undefined,
  settled: false,
};

/** A brake that was engaged a second ago, and what a test says about it. */
export function aBrake(about: Partial<Omit<Brake, "halt">> & { halt?: Partial<Halt> } = {}): Brake {
  return {
    brakeId: "br_1",
    workflowId: "restate:inv_1",
    state: "ENGAGED",
    reason: "looks wrong",
    emergency: false,
    engagedBy: "alice",
    engageTime: 1_000,
    expireTime: undefined,
    engageEntryId: "ae_1",
    release: undefined,
    ...about,
    halt: { ...halt, ...about.halt },
  };
}

/** What an engine showed of a workflow that runs and is between two steps, and what a test says about it. */
export function seen(about: Partial<Observation> = {}): Observation {
  return {
    status: "running",
    phase: "running",
    inFlight: [],
    stepsStarted: 0,
    stepTimes: [],
    currentStep: "",
    completedSteps: 0,
    ...about,
  };
}
