import type { EngineStatus, Observation } from "../engines/engine.ts";
import type { Brake, Halt } from "../store/brake.ts";

/** The beginning of a halt: what was seen before anything was asked of the engine. `others`: brakes already on the workflow. */
export function beginHalt(seen: Observation, others: readonly Brake[]): Halt {
  const paused = seen.status === "paused";
  return {
    // Paused with none of ours on it, or only with such that had found it so: then it is somebody else's pause.
    foundPaused: paused && others.every((brake) => brake.halt.foundPaused),
    acceptTime: undefined,
    standstillTime: undefined,
    // From before the first call: a crash between the call and a note of it must not make us forget that it may come true.
    pausePending: true,
    stepsInFlight: paused
      ? []
      : seen.inFlight.map((step) => ({
          index: step.index,
          name: step.name,
          startTime: step.startTime.getTime(),
          outcome: "inFlight",
        })),
    stepsStartedBefore: seen.stepsStarted,
    stepsStartedAfterAccept: undefined,
    stepsStartedAtRelease: undefined,
    settled: false,
  };
}

/**
 * The engine was read back: paused. What became of the steps is told by the journal of the same observation. Where the
 * engine's acceptance was not noted (a crash, or somebody else's pause), steps are counted from the engagement on.
 */
export function standstill({ halt, engageTime }: Brake, seen: Observation, now: number): Halt {
  const acceptTime = halt.acceptTime ?? engageTime;
  const open = new Set(seen.inFlight.map((step) => step.index));
  const known = new Set(halt.stepsInFlight.map((step) => step.index));
  const cutOff = seen.inFlight.filter((step) => !known.has(step.index));
  return {
    ...halt,
    acceptTime,
    standstillTime: now,
    pausePending: false,
    stepsInFlight: [
      ...halt.stepsInFlight.map((step) => ({
        ...step,
        outcome: open.has(step.index) ? ("reruns" as const) : ("finished" as const),
      })),
      ...cutOff.map((step) => ({
        index: step.index,
        name: step.name,
        startTime: step.startTime.getTime(),
        outcome: "reruns" as const,
      })),
    ],
    stepsStartedAfterAccept: seen.stepTimes.filter((time) => time.getTime() > acceptTime).length,
  };
}

/** Somebody or something let it go while it was held: it has to be halted anew, and from now on the pause is ours. */
export function drifted(halt: Halt): Halt {
  return { ...halt, foundPaused: false, standstillTime: undefined, pausePending: true };
}

/**
 * Release, with what was seen at that moment. Unless it stood paused, a pause that was asked for may still come true after
 * the release, and is then ours to lift, whoever had paused it before.
 */
export function released(halt: Halt, seen: Observation): Halt {
  const paused = seen.status === "paused";
  return {
    ...halt,
    foundPaused: halt.foundPaused && paused,
    pausePending: !paused,
    stepsStartedAtRelease: seen.stepsStarted,
  };
}

/** What a released brake still has to do for its workflow. */
export type AfterRelease = "release" | "watch" | "settle";

/**
 * After release: `release` while the engine shows a pause that is ours; `watch` while a pause that was asked for may still
 * come true (the step in flight has not ended); `settle` when it moves or is free to.
 */
export function afterRelease(
  halt: Halt,
  status: EngineStatus,
  seen: Pick<Observation, "phase" | "inFlight" | "stepsStarted">,
  sinceReleaseMs: number,
): AfterRelease {
  if (halt.foundPaused) return "settle";
  if (status === "paused") return "release";
  if (status !== "running" || !halt.pausePending || seen.phase === "suspended") return "settle";
  if (seen.stepsStarted > (halt.stepsStartedAtRelease ?? halt.stepsStartedBefore)) return "settle";
  // A pause comes true at the end of the step in flight, and at once where there is none.
  return seen.inFlight.length > 0 || sinceReleaseMs < idlePauseMs ? "watch" : "settle";
}

/** How long an accepted pause may take to show where no step is in flight: measured at most 90 ms, with a wide margin. */
const idlePauseMs = 2_000;
