/**
 * The contract of an engine: what Mission Control asks of the system that runs the workflows. It has no method that could
 * change a workflow's content. That is the brake pedal promise as a type.
 *
 * - **hold** asks the engine to take no further step of a workflow. It MUST be safe to repeat, MUST NOT cancel, fail or
 *   alter the workflow, and its answer MUST NOT be taken for a standstill: engines answer 200 and go on.
 * - **standstill** is an observation: `observe` showed `paused` and no step in flight. Only that is PAUSED.
 * - **release** lets a workflow go on that the engine shows as paused. It MUST be safe to repeat, MUST lose nothing, and MUST
 *   NOT be called for a workflow that somebody else paused.
 * - **list, get, observe, trace** only read, and every read is bounded in size and time. What the brake asks (open, statuses,
 *   hold, release, an urgent observe) MUST NOT wait behind the reads of people.
 *
 * A method rejects with MissionControlError ENGINE_UNAVAILABLE where the engine did not answer, and honours its signal.
 */
export interface Engine {
  /** The configured name: the part of a workflow_id before the colon. */
  readonly name: string;
  readonly capabilities: Capabilities;

  /** Is it there, and which version? */
  probe(signal?: AbortSignal): Promise<{ version: string }>;
  /** Workflows, the newest first (createTime, then id, both descending). */
  list(query: ListQuery, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * Open workflows that match one of the filters, or are children of any workflow where `children` is set; those that are
   * paused only where `paused` is set. In no order, all of them, without what only `get` knows (`phase` may be coarser).
   */
  open(query: OpenQuery, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /** How those of the ids stand that are open, however many they are. */
  statuses(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, EngineStatus>>;
  /** How many workflows there are in each status, of those that match. */
  count(query: WorkflowQuery, signal?: AbortSignal): Promise<Record<EngineStatus, number>>;
  /** The types and handlers ("type/handler") whose workflows carry all of these labels: for gates, which know no labels. */
  handlersWith(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<string[]>;
  /** Those of the ids that the engine knows. Also takes ids that it never gave out, and does not find them. */
  get(ids: readonly string[], signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * What is in flight and how far each of them is; ids that the engine does not know are missing from the answer. `urgent`:
   * for the brake.
   */
  observe(ids: readonly string[], signal?: AbortSignal, urgent?: boolean): Promise<Map<string, Observation>>;
  /** Timers of these that run on while their workflow is held; those that are due already are left out. */
  timers(ids: readonly string[], signal?: AbortSignal): Promise<EngineTimer[]>;
  /** Those of the ids that stand paused because a gate held their next step, not because anybody paused them. */
  pausedByGate(ids: readonly string[], signal?: AbortSignal): Promise<Set<string>>;
  /** The workflow's own timeline, the oldest first; undefined where the engine does not know it. */
  trace(id: string, signal?: AbortSignal): Promise<EngineTraceEntry[] | undefined>;
  /** Workflows that changed at or after the moment, at most `limit`, the longest unchanged first. */
  changedSince(since: Date, limit: number, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /** Asks the engine to halt them. */
  hold(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, HoldAnswer>>;
  /** Lets them go on. */
  release(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, ReleaseAnswer>>;
  /** True where the text could be an id of this engine's. */
  isId(text: string): boolean;
}

/** What an engine can do. What it cannot do is refused, never simulated. */
export interface Capabilities {
  /** How it halts: by a pause of its own, or by a gate that workers ask. */
  readonly halt: "native" | "gate";
  /** What becomes of a step in flight when a hold is accepted. */
  readonly stepInFlight: "finishes" | "reruns";
  /**
   * How long a step of a workflow may still begin after the engine has shown it as paused, ms: what the engine had told a worker
   * before it cut it off may be on its way. 0 where it waits for its workers. A worker that is further away needs a gate.
   */
  readonly settleMs: number;
  /** True where a workflow can be halted before it begins. */
  readonly haltsPending: boolean;
  /** True where timers run on while a workflow is paused. */
  readonly timersRunOn: boolean;
  /** True where pausing a workflow pauses its children. */
  readonly pausesChildren: boolean;
}

/** The engine's own view of a status: it knows no PAUSING or RESUMING, the brakes do. */
export type EngineStatus = "pending" | "running" | "paused" | "completed" | "failed" | "canceled" | "rolledBack";

export const endedStatuses: readonly EngineStatus[] = ["completed", "failed", "canceled", "rolledBack"];

/** One workflow as the engine shows it. */
export interface EngineWorkflow {
  /** The engine's own id. */
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly status: EngineStatus;
  /** The engine's own word for the status, e.g. "suspended" or "backing-off". */
  readonly phase: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The engine's own id of the parent. */
  readonly parentId: string | undefined;
  readonly createTime: Date;
  readonly startTime: Date | undefined;
  readonly updateTime: Date;
  readonly endTime: Date | undefined;
  readonly errorMessage: string;
  /** When it is due to start or to be retried. */
  readonly dueTime: Date | undefined;
}

/** What one observation of a workflow showed. */
export interface Observation {
  readonly status: EngineStatus;
  readonly phase: string;
  /** All steps that ever began, in their order, by the engine's journal and clock. */
  readonly steps: readonly ObservedStep[];
  /** True where it was cut off a moment after it had moved: a step may have begun that is not among these, and runs again. */
  readonly hidesStep: boolean;
}

/** One step of a workflow. */
export interface ObservedStep {
  /** Its place among all that the workflow did. */
  readonly index: number;
  readonly name: string;
  readonly startTime: Date;
  /** Undefined where it has not ended: in flight, cut off, or between two attempts. */
  readonly endTime: Date | undefined;
  readonly succeeded: boolean;
  /** True where an attempt at it has failed and it has not ended; told of what stands paused. */
  readonly failing: boolean;
}

/**
 * `accepted`: asked for and answered at that time (ms since the epoch); watch for the standstill. `notYet`: it has not begun
 * or has ended; look again.
 */
export type HoldAnswer =
  | { readonly kind: "accepted"; readonly time: number }
  | { readonly kind: "notYet" | "unknown" }
  | Refusal;
/** `released`: it may go on. */
export type ReleaseAnswer = { readonly kind: "released" | "ended" | "unknown" } | Refusal;
/** The engine refused for another reason; ask again later. */
export interface Refusal {
  readonly kind: "refused";
  readonly message: string;
}

/** A timer or timeout that runs on. */
export interface EngineTimer {
  /** The workflow's. */
  readonly id: string;
  readonly dueTime: Date;
  /** What it is, for people: "sleep". */
  readonly what: string;
}

/** Which workflows; all that is set has to match. */
export interface WorkflowQuery {
  readonly statuses?: readonly EngineStatus[] | undefined;
  readonly types?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** The engine's own ids. */
  readonly ids?: readonly string[] | undefined;
  readonly idPrefix?: string | undefined;
  readonly namePrefix?: string | undefined;
  /** Inclusive. */
  readonly createdAfter?: Date | undefined;
  /** Exclusive. */
  readonly createdBefore?: Date | undefined;
  /** At least one of these has to match as well; none: nothing does. */
  readonly within?: readonly WorkflowQuery[] | undefined;
}

/** What to list. */
export interface ListQuery extends WorkflowQuery {
  /** Only what comes behind this one in the order of the list. */
  readonly after?: { readonly createTime: Date; readonly id: string } | undefined;
  readonly limit: number;
}

/** Which open workflows. */
export interface OpenQuery {
  readonly anyOf: readonly WorkflowQuery[];
  readonly children: boolean;
  readonly paused: boolean;
}

/** One thing that a workflow did, as the engine recorded it. */
export interface EngineTraceEntry {
  readonly kind:
    | "step"
    | "sleep"
    | "call"
    | "send"
    | "await"
    | "state"
    | "attemptFailed"
    | "paused"
    | "started"
    | "ended"
    | "other";
  readonly name: string;
  readonly startTime: Date;
  readonly endTime: Date | undefined;
  readonly outcome: "none" | "inFlight" | "succeeded" | "failed" | "canceled";
  readonly errorMessage: string;
  /** The engine's own id of the child. */
  readonly childId: string | undefined;
  /** When a sleep is due to end. */
  readonly dueTime: Date | undefined;
}
