import type { JsonValue } from "@bufbuild/protobuf";

/** What scopes ask about a workflow. */
export interface Traits {
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Some of all workflows: all that is set has to match. */
export interface Scope {
  /** Configured names. */
  readonly engines?: readonly string[] | undefined;
  readonly types?: readonly string[] | undefined;
  /** All of them, with these values. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** A brake: a standing decision by a person that the workflows it matches take no further step. Times in ms since the epoch. */
export interface Brake {
  readonly brakeId: string;
  /** What it holds, in the proto's JSON. */
  readonly selector: JsonValue;
  /** The one workflow that it is for, where it was engaged by PauseWorkflow; "" for a selector's. */
  readonly workflowId: string;
  /** It holds only what is in one of these: what its author reached; unset: everything. */
  readonly scopes?: readonly Scope[] | undefined;
  /** Whether it also holds the children of what it holds. */
  readonly includeDescendants: boolean;
  readonly state: BrakeState;
  readonly reason: string;
  readonly ticket: string;
  readonly emergency: boolean;
  /** The subject who asked for it, and the issuer of their token. */
  readonly engagedBy: string;
  readonly issuer: string;
  /** How many they may brake alone; undefined: any number, or it is for one workflow. */
  readonly radius: number | undefined;
  readonly createTime: number;
  /** Since when it holds; undefined while it waits for approval. */
  readonly engageTime: number | undefined;
  /** How long it holds, from engagement to release by itself; undefined: until somebody releases it. */
  readonly expiresInMs: number | undefined;
  /** True once it has been warned that it will release by itself soon. */
  readonly expiryWarned: boolean;
  /** The ledger entry of the intent to engage it. */
  readonly engageEntryId: string;
  readonly approval: Approval | undefined;
  readonly release: Release | undefined;
  /** Gates that were attached at the engagement, and when each confirmed. */
  readonly gates: readonly { readonly gate: string; readonly ackTime: number | undefined }[];
}

export type BrakeState = "AWAITING_APPROVAL" | "ENGAGED" | "RELEASED" | "EXPIRED";

/** What a second person has to say. */
export interface Approval {
  /** How many workflows matched when it was asked for, and the SHA-256 over their sorted ids, in hex. */
  readonly matched: number;
  readonly setHash: string;
  /** Their ids, sorted, while it waits; empty afterwards. */
  readonly ids: readonly string[];
  /** How many may have come or gone when it is approved. */
  readonly tolerance: number;
  /** "" while nobody has. */
  readonly approvedBy: string;
  readonly approveTime: number | undefined;
  readonly approveEntryId: string;
  /** An emergency that nobody approved by then is released; undefined where nothing is held before the approval. */
  readonly approveBy: number | undefined;
}

/** Who released it, why, when and by which ledger entry; "" for by itself. */
export interface Release {
  readonly by: string;
  readonly reason: string;
  readonly time: number;
  readonly entryId: string;
  readonly staged: { readonly percent: number; readonly watchMs: number; readonly maxFailures: number } | undefined;
  /** How many were let go so far by a staged release, in the order in which they were caught. */
  readonly letGo: number;
  /** When the latest stage began. */
  readonly stageTime: number;
  /** Why a staged release braked again; "" where it did not. */
  readonly haltedBecause: string;
}

/** One workflow that a brake holds. */
export interface Hold {
  readonly brakeId: string;
  /** The workflow's full id. */
  readonly workflowId: string;
  /** As it was caught: what decides who may see the hold. Unset in what earlier versions wrote. */
  readonly traits?: Traits | undefined;
  /** Its name at the catch. Unset in what earlier versions wrote. */
  readonly name?: string | undefined;
  readonly catchTime: number;
  /** True where it was not there at the engagement, as far as is known: it started, or came to match, later. */
  readonly late: boolean;
  /** True where it was open at the engagement already and was missed then: its engine did not answer, or the server stopped. */
  readonly missed?: boolean | undefined;
  /** The held parent through which it was caught; "" where the selector matched it itself. */
  readonly caughtThrough: string;
  /** Its place in the order in which the brake caught its workflows, from 0. */
  readonly order: number;
  /** True once the workflow has ended, or the engine no longer knows it. */
  readonly ended: boolean;
  readonly halt: Halt;
}

/** How far a hold has come. All times in ms since the epoch. */
export interface Halt {
  /** True where the workflow stood paused, by somebody else, before any brake of ours: then release leaves it so. */
  readonly foundPaused: boolean;
  /** When it began: the catch, or when it was seen to have been let go elsewhere. */
  readonly requestTime: number;
  /** When the engine first accepted to halt it. */
  readonly acceptTime: number | undefined;
  /** When it was first seen to stand still; undefined while it does not. */
  readonly standstillTime: number | undefined;
  /** True while the engine may still come to a pause from what was asked of it. */
  readonly pausePending: boolean;
  /** What its journal showed at the standstill; undefined before. */
  readonly steps: HaltedSteps | undefined;
  /** When the reconciler first saw that nothing of this brake holds it any more; undefined before. */
  readonly releaseTime: number | undefined;
  /** True once nothing is left to do: it has ended, or, after release, was seen to move or to be free to. */
  readonly settled: boolean;
}

/** Steps around a halt, by the engine's journal and clock. */
export interface HaltedSteps {
  readonly inFlight: readonly {
    readonly name: string;
    readonly startTime: number;
    readonly outcome: "finished" | "reruns";
    /** True where an attempt at it had failed: it was between two attempts. */
    readonly failing: boolean;
  }[];
  readonly startedAfterAccept: number;
  /** True where one more may have begun a moment before the halt, cut off before the engine heard of it: it runs again. */
  readonly hidesStep: boolean;
}

/** A hold with its brake. */
export interface Held {
  readonly brake: Brake;
  readonly hold: Hold;
}
