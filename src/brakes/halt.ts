import type { EngineStatus, Observation } from "../engines/engine.ts";
import type { Halt, HaltedSteps, Held, Hold } from "../store/brake.ts";

/** True while the brake keeps the workflow from taking a step. */
export function holds({ brake, hold }: Held): boolean {
  return brake.state === "ENGAGED" && !hold.ended && hold.order >= (brake.release?.letGo ?? 0);
}

/** The beginning of a halt. `shown`: what the engine shows, or "running" where a gate paused it; `others`: holds already on the workflow that are not settled. */
export function beginHalt(shown: EngineStatus, others: readonly Held[], now: number): Halt {
  return {
    requestTime: now,
    // Paused with none of ours on it, or only with such that had found it so: then it is somebody else's pause.
    foundPaused: shown === "paused" && others.every(({ hold }) => hold.halt.foundPaused),
    acceptTime: undefined,
    standstillTime: undefined,
    // From before the first call: a crash between the call and a note of it must not make us forget that it may come true.
    pausePending: true,
    steps: undefined,
    releaseTime: undefined,
    settled: false,
  };
}

/** The engine was read back after the catch: paused. */
export function standstill(halt: Halt, now: number): Halt {
  return { ...halt, standstillTime: now, pausePending: false, releaseTime: undefined };
}

/**
 * What the journal of a workflow that stands says about its halt. Where the engine's acceptance was not noted (a crash, or
 * somebody else's pause), steps are counted from the request on.
 */
export function haltedSteps(halt: Halt, seen: Observation): HaltedSteps {
  const { requestTime } = halt;
  const since = halt.acceptTime ?? requestTime;
  return {
    // Also what began between the request and the acceptance: every step that began after the request is told.
    inFlight: seen.steps
      .filter((step) => step.endTime === undefined || step.endTime.getTime() >= requestTime)
      .filter((step) => step.endTime === undefined || step.startTime.getTime() <= since)
      .map((step) => ({
        name: step.name,
        startTime: step.startTime.getTime(),
        outcome: step.endTime === undefined ? ("reruns" as const) : ("finished" as const),
        failing: step.failing,
      })),
    startedAfterAccept: seen.steps.filter((step) => step.startTime.getTime() > since).length,
    hidesStep: seen.hidesStep,
  };
}

/** Somebody or something let it go, or a staged release did and takes it back: halted anew, and the pause is ours now. */
export function drifted(halt: Halt, now: number): Halt {
  return {
    ...halt,
    foundPaused: false,
    requestTime: now,
    acceptTime: undefined,
    standstillTime: undefined,
    pausePending: true,
    steps: undefined,
    releaseTime: undefined,
    settled: false,
  };
}

/**
 * Nothing of this brake holds it any more. Unless it stands paused at that moment, a pause that was asked for may still come
 * true, and is then ours to lift, whoever had paused it before.
 */
export function released(halt: Halt, shown: EngineStatus, now: number): Halt {
  const paused = shown === "paused";
  return { ...halt, foundPaused: halt.foundPaused && paused, pausePending: !paused, releaseTime: now };
}

/** What a released hold still has to do for its workflow. */
export type AfterRelease = "release" | "watch" | "settle";

/**
 * After release: `release` while the engine shows a pause that is ours; `watch` while a pause that was asked for may still
 * come true (the step in flight has not ended); `settle` when it moves or is free to.
 */
export function afterRelease(halt: Halt, seen: Observation, now: number): AfterRelease {
  const { releaseTime = now } = halt;
  if (halt.foundPaused) return "settle";
  if (seen.status === "paused") return "release";
  if (seen.status !== "running" || !halt.pausePending || seen.phase === "suspended") return "settle";
  // A pause comes true at the end of a step: of one that was asked for in time to see it through, or of the next, which may
  // have begun before the pause reached it. Two steps that began after the release, one after the other, prove that none came.
  const since = seen.steps.filter((step) => step.startTime.getTime() > releaseTime);
  const firstEnd = Math.min(...since.map((step) => step.endTime?.getTime() ?? Number.POSITIVE_INFINITY));
  if (since.some((step) => step.startTime.getTime() >= firstEnd)) return "settle";
  const inFlight = seen.steps.some((step) => step.endTime === undefined);
  return inFlight || now - Math.max(releaseTime, lastEnd(seen)) < idlePauseMs ? "watch" : "settle";
}

function lastEnd(seen: Observation): number {
  return seen.steps.reduce((last, step) => Math.max(last, step.endTime?.getTime() ?? 0), 0);
}

/** How long an accepted pause may take to show where no step is in flight: measured at most 90 ms, with a wide margin. */
const idlePauseMs = 2_000;

/** Nothing is left to do for it. */
export function settled(hold: Hold): Hold {
  return { ...hold, halt: { ...hold.halt, settled: true, pausePending: false } };
}
