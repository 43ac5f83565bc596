/**
 * The contract of an engine: what Mission Control asks of the system that runs the workflows. It has no method that could
 * change a workflow's content. That is the brake pedal promise as a type. How to write one: docs/write-an-engine.md.
 *
 * MUST, MUST NOT and MAY are meant as in RFC 2119. Each clause has a number; `test/conformance/engine` shows every one of
 * them on every engine, and a test keeps the two together. Of every method:
 *
 * - `every.1` Where the engine did not answer, or with what is no answer (an error, a cut off or foreign body), it MUST reject
 *   with MissionControlError ENGINE_UNAVAILABLE, and MUST NOT resolve as if there was nothing.
 * - `every.2` It MUST settle within 30 s whatever the engine does, and MUST NOT read an answer without an end.
 * - `every.3` It MUST reject with the signal's reason as soon as the signal is aborted.
 * - `every.4` Ids and texts are the caller's, of any characters and length: they MUST NOT reach the engine as anything but a
 *   value. What no engine could have given out is simply not known.
 * - `every.5` No ids are none, and MUST NOT be taken for all.
 * - `every.6` Only hold and release have an effect. Everything else MUST NOT change how a workflow goes on.
 * - `every.7` What the brake asks (open, statuses, hold, release, an urgent observe) MUST NOT wait behind the reads of people.
 */
export interface Engine {
  /** The configured name: the part of a workflow_id before the colon. */
  readonly name: string;
  /** What it can do; may become known by the first answer only. */
  readonly capabilities: Capabilities;

  /**
   * Is it there, and which version?
   * - `probe.1` It MUST resolve only where the engine would answer the other methods as well.
   */
  probe(signal?: AbortSignal): Promise<{ version: string }>;
  /**
   * A page of workflows.
   * - `list.1` It MUST be ordered by createTime, then id, both descending, and have at most `limit` workflows.
   * - `list.2` Page by page with `after`, whatever is there all the time MUST be found exactly once, also where others start, move
   *   and end meanwhile.
   * - `list.3` It MUST have all that match everything that the query says, and nothing else.
   */
  list(query: ListQuery, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * What could be held: without what only `get` knows (`phase` may be coarser).
   * - `open.1` It MUST have all open workflows, however many, that match one of the filters or, where `children` is set, are the
   *   child of any workflow; those that are paused only where `paused` is set. In no order.
   */
  open(query: OpenQuery, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * How those of the ids stand that are open, however many they are.
   * - `statuses.1` Those that have ended or are not known MUST be missing.
   * - `statuses.2` `paused` MUST be what the engine shows now, and MUST NOT be concluded from an answer to hold. From `settleMs`
   *   after it is shown, no step MAY begin until something lets the workflow go on.
   */
  statuses(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, EngineStatus>>;
  /**
   * How many workflows there are in each status, of those that match.
   * - `count.1` It MUST say what the pages of the same query would add up to.
   */
  count(query: WorkflowQuery, signal?: AbortSignal): Promise<Record<EngineStatus, number>>;
  /**
   * The types and handlers ("type/handler") whose workflows carry all of these labels: for gates, which know no labels.
   * - `handlersWith.1` Those with one label missing or of another value MUST NOT be among them.
   */
  handlersWith(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<string[]>;
  /**
   * Workflows by their ids.
   * - `get.1` It MUST have those that the engine knows, in any status, as a list would show them, and no others.
   */
  get(ids: readonly string[], signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * What is in flight and how far each of them is. `urgent`: for the brake.
   * - `observe.1` The steps MUST be all that ever began, in their order, each once; one that has not ended has no end.
   * - `observe.2` Where the status is `paused`, it MUST cover what began before the workflow came to a stand: a step without an
   *   end was cut off or is between two attempts, and runs again; `hidesStep` says that there may be one more of that sort.
   * - `observe.3` Ids that the engine does not know MUST be missing.
   */
  observe(ids: readonly string[], signal?: AbortSignal, urgent?: boolean): Promise<Map<string, Observation>>;
  /**
   * Timers of these that run on while their workflow is held.
   * - `timers.1` Those that are due already MUST be left out.
   */
  timers(ids: readonly string[], signal?: AbortSignal): Promise<EngineTimer[]>;
  /**
   * Those of the ids that stand paused because a gate held their next step.
   * - `pausedByGate.1` Those that anybody paused in another way MUST NOT be among them.
   */
  pausedByGate(ids: readonly string[], signal?: AbortSignal): Promise<Set<string>>;
  /**
   * The workflow's own timeline; undefined where the engine does not know it.
   * - `trace.1` The oldest MUST come first, and each step be one entry: with its end and outcome where it ended, in flight where
   *   it has not.
   * - `trace.2` Children MUST be there with their ids, failures with their messages, sleeps with when they are due.
   * - `trace.3` It MUST NOT show what a workflow has answered, and what it was given only where the engine's entry in the
   *   configuration says so: without secrets, and of a bounded size (`inputs`).
   */
  trace(id: string, signal?: AbortSignal): Promise<EngineTraceEntry[] | undefined>;
  /**
   * What has changed, for those who watch.
   * - `changedSince.1` It MUST have all whose updateTime is at or after the moment, the longest unchanged first, up to `limit`;
   *   starting, coming to a stand, going on and ending MUST each be a change.
   */
  changedSince(since: Date, limit: number, signal?: AbortSignal): Promise<EngineWorkflow[]>;
  /**
   * Asks the engine to let these take no further step. A hold is a fact and no count: who else holds a workflow, the brakes know.
   * - `hold.1` It MUST NOT cancel, fail or alter a workflow: let go, it goes on to where it would have come without it, and what
   *   was not in flight runs exactly once.
   * - `hold.2` It MUST be safe to repeat, at any moment, and one release undoes any number of them.
   * - `hold.3` The answer MUST have every id: `accepted` only what is open, `notYet` what cannot be held (it has not begun, it has
   *   ended: the next look tells), `unknown` what the engine does not know, `refused` what the engine answers with an error
   *   of its own: one that it cannot hold does not keep it from holding the others.
   * - `hold.4` What it accepted MUST come to a stand at the next place where the engine halts (`haltsAt`), unless the engine
   *   restarts. It says nothing about when: only the statuses do.
   */
  hold(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, HoldAnswer>>;
  /**
   * Lets these go on. It MUST NOT be called for a workflow that somebody else paused.
   * - `release.1` What stands MUST go on from where it stood, at once and by itself, and lose nothing: neither the results of its
   *   steps, nor signals and timers that came meanwhile.
   * - `release.2` It MUST be safe to repeat, also for what does not stand.
   * - `release.3` The answer MUST have every id: `ended` what has ended, `unknown` what the engine does not know.
   */
  release(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, ReleaseAnswer>>;
  /**
   * True where the text could be an id of this engine's.
   * - `isId.1` It MUST be true for every id that the engine gave out, and SHOULD be false for those of other engines.
   */
  isId(text: string): boolean;
}

/**
 * What an engine can do. What it cannot do is refused or told, never simulated. Declared beside the adapter, shown in
 * docs/engines.md, and held against what the engine really does by the conformance suite.
 */
export interface Capabilities {
  /** How it halts: by a pause of its own, or by a gate that workers ask. */
  readonly halt: "native" | "gate";
  /**
   * Where a workflow comes to a stand. `beforeStep`: only when it is about to take its next step, so that one that sleeps or
   * waits is not seen to stand until it wakes. `betweenSteps`: wherever no step is in flight, also asleep. `anywhere`: in the
   * middle of a step as well.
   */
  readonly haltsAt: "beforeStep" | "betweenSteps" | "anywhere";
  /** What becomes of a step in flight when a hold is accepted. */
  readonly stepInFlight: "finishes" | "reruns";
  /**
   * How long a step of a workflow may still begin after the engine has shown it as paused, ms: what the engine had told a worker
   * before it cut it off may be on its way. 0 where it waits for its workers. A worker that is further away needs a gate.
   */
  readonly settleMs: number;
  /** True where a workflow can be halted before it begins; else it is caught when it comes up, usually after one step. */
  readonly haltsPending: boolean;
  /** True where timers run on while a workflow is paused. */
  readonly timersRunOn: boolean;
  /** True where pausing a workflow pauses its children. */
  readonly pausesChildren: boolean;
  /**
   * True where a release takes back a hold that has not come true yet; else the workflow may still come to a stand after it,
   * and has to be released once more.
   */
  readonly releaseTakesBack: boolean;
  /**
   * Which holds outlast a restart of the engine: all that it accepted, those that stand, or none. The brake asks again for what
   * was forgotten; what it declares here, nobody has to ask for.
   */
  readonly outlastsRestart: "accepted" | "standing" | "none";
  /** Where the steps and the trace come from: the engine's own durable journal, or what workers report of themselves. */
  readonly stepsFrom: "journal" | "reports";
}

/**
 * The engine's own view of a status: it knows no PAUSING or RESUMING, the brakes do. `silent`: it has not ended, and its runtime
 * has not been heard of for so long, or has left, that nobody knows whether it runs; only where steps are from reports.
 */
export type EngineStatus =
  | "pending"
  | "running"
  | "paused"
  | "silent"
  | "completed"
  | "failed"
  | "canceled"
  | "rolledBack";

/** How many there are of each: none. */
export function noWorkflows(): Record<EngineStatus, number> {
  return { pending: 0, running: 0, paused: 0, silent: 0, completed: 0, failed: 0, canceled: 0, rolledBack: 0 };
}

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
  /** What the workflow (kind `started`) or the step was given: JSON, without secrets, and perhaps cut. Undefined: not kept. */
  readonly inputs?: string | undefined;
  /** On whose behalf a step was taken; undefined or "": not told. */
  readonly agent?: string | undefined;
  /** How much was at stake in a step, e.g. HIGH; undefined or "": not told. */
  readonly riskLevel?: string | undefined;
}
