/** A brake: a standing decision by a person that the workflows it matches take no further step. */
export interface Brake {
  readonly brakeId: string;
  /** The full id of the workflow that it holds. */
  readonly workflowId: string;
  readonly state: BrakeState;
  readonly reason: string;
  readonly emergency: boolean;
  /** The subject who engaged it. */
  readonly engagedBy: string;
  readonly engageTime: number;
  /** When it releases by itself, in ms since the epoch. */
  readonly expireTime: number | undefined;
  /** The ledger entry of the intent to engage it. */
  readonly engageEntryId: string;
  /** Who released it, why, when and by which ledger entry; unset while it is engaged. "" for by itself. */
  readonly release:
    | { readonly by: string; readonly reason: string; readonly time: number; readonly entryId: string }
    | undefined;
  /** What is known of the halt, in ms since the epoch. */
  readonly halt: Halt;
}

export type BrakeState = "ENGAGED" | "RELEASED" | "EXPIRED";

/** How far a hold has come. All times in ms since the epoch. */
export interface Halt {
  /** True where the workflow stood paused, by somebody else, before any brake of ours: then release leaves it so. */
  readonly foundPaused: boolean;
  /** When the engine first accepted to halt it. */
  readonly acceptTime: number | undefined;
  /** When it was first seen to stand still. */
  readonly standstillTime: number | undefined;
  /** True from an accepted hold until a standstill has been seen: the engine may still come to a pause from it. */
  readonly pausePending: boolean;
  readonly stepsInFlight: readonly {
    readonly index: number;
    readonly name: string;
    readonly startTime: number;
    readonly outcome: "inFlight" | "finished" | "reruns";
  }[];
  readonly stepsStartedBefore: number;
  readonly stepsStartedAfterAccept: number | undefined;
  /** Steps that had begun when the brake was released: more of them later means that the workflow moves. */
  readonly stepsStartedAtRelease: number | undefined;
  /** True once the workflow has ended, or, after release, once it has been seen to move or to be free to. */
  readonly settled: boolean;
}
