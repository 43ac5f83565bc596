/** What the doors of a gate engine tell of its runtime's workflows. Nothing in here knows how it came. */

/** A workflow, as its runtime tells of it; what is undefined stays as it was told before. */
export interface RunFacts {
  /** The runtime's own id, unique in the engine for good. At most 256 characters. */
  readonly id: string;
  /** What sort of workflow it is: brakes select by it. */
  readonly type?: string | undefined;
  /** For people. */
  readonly name?: string | undefined;
  /** Brakes select by them. Those that are told are added to those that were. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** The runtime's own id of the workflow that started it. */
  readonly parentId?: string | undefined;
  /** What it was given, as `keptInputs` has it. */
  readonly inputs?: string | undefined;
}

/** A step, before or after it has begun. */
export interface StepFacts {
  /** Unique in the workflow: a step that is told of again, or asked for again, is the same step. At most 256 characters. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** On whose behalf; "": not told. */
  readonly agent?: string | undefined;
  /** LOW, MEDIUM, HIGH, CRITICAL; "": not told. */
  readonly riskLevel?: string | undefined;
  /** What it was given, as `keptInputs` has it. */
  readonly inputs?: string | undefined;
}

/** How a step ended; `unknown`: its runtime does not tell. */
export type StepOutcome = "succeeded" | "failed" | "canceled" | "unknown";
/** How a workflow ended. */
export type RunOutcome = "completed" | "failed" | "canceled" | "rolledBack";

/** One thing that a workflow did. Every one is a sign of life. Times in ms since the epoch; one in the future counts as now. */
export type GateEvent =
  /** It is there, and free to begin. Told again, it is the same workflow; one that has ended stays ended. */
  | { readonly kind: "runStarted"; readonly time: number; readonly run: RunFacts }
  /** It has come to a stand in its runtime before this step, which has not begun, because the runtime knows that it is held. */
  | { readonly kind: "stepHeld"; readonly time: number; readonly runId: string; readonly step: StepFacts }
  | { readonly kind: "stepStarted"; readonly time: number; readonly runId: string; readonly step: StepFacts }
  | {
      readonly kind: "stepEnded";
      readonly time: number;
      readonly runId: string;
      readonly stepId: string;
      readonly outcome: StepOutcome;
      /** Why it failed; "" otherwise. */
      readonly errorMessage: string;
    }
  | {
      readonly kind: "runEnded";
      readonly time: number;
      readonly runId: string;
      readonly outcome: RunOutcome;
      readonly errorMessage: string;
    };

/** A workflow that is about to begin (without a step), or to take a step. */
export interface Asked {
  readonly run: RunFacts;
  readonly step?: StepFacts | undefined;
}

/** Why an ask was given up before it was let go, in words that are shown; to be the reason of its signal. */
export class GaveUp extends Error {
  override readonly name = "GaveUp";
}

/** What the doors of a gate engine call. */
export interface GateDoor {
  /**
   * Takes in what workflows did, in its order, at once; resolves when it is durable. What was told before counts once. What is
   * told of a workflow that nobody has heard of makes it known. Rejects with LEDGER_UNAVAILABLE where it could not be written:
   * it counts all the same, and is written as soon as that can be done. Rejects with TOO_MANY_WORKFLOWS where no more open
   * workflows are kept: then those events are lost.
   */
  report(events: readonly GateEvent[]): Promise<void>;
  /**
   * Asks whether a workflow may begin or take a step. Resolves when it may: from then on the step counts as begun. While it
   * waits, and no other of its steps is in flight, the workflow stands. Rejects with the signal's reason where the asker is
   * gone: then nobody knows what becomes of the workflow, which is shown as such (`gone`). A workflow that is told to have ended while it
   * waits goes on waiting, and has ended so when the asker leaves. Rejects with TOO_MANY_WORKFLOWS, or TOO_MANY_HELD_STEPS where too
   * many wait already.
   */
  ask(asked: Asked, signal: AbortSignal): Promise<void>;
  /** True where the workflow is known and has not ended. */
  isOpen(runId: string): boolean;
  /** True while the workflow is to take no further step. */
  isHeld(runId: string): boolean;
  /** These are alive, and do what they did: for runtimes that are connected. */
  seen(runIds: readonly string[]): void;
  /** The connection to these has ended, or their asker has left: until they are heard of again nobody knows whether they run. */
  gone(runIds: readonly string[], why: string): void;
}
