import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { StoredRun, StoredStep } from "../store/gate-runs.ts";
import type { Store } from "../store/store.ts";
import {
  type Capabilities,
  type Engine,
  type EngineStatus,
  type EngineTimer,
  type EngineTraceEntry,
  type EngineWorkflow,
  type HoldAnswer,
  type ListQuery,
  noWorkflows,
  type Observation,
  type ObservedStep,
  type OpenQuery,
  type ReleaseAnswer,
  type WorkflowQuery,
} from "./engine.ts";
import { gateCapabilities } from "./gate/capabilities.ts";
import { matches } from "./gate/query.ts";
import { workflowOf } from "./gate/run.ts";
import { defaultRunLimits, GateRuns, type RunLimits } from "./gate/runs.ts";
import { stepsWith, type Unwritten } from "./gate/unwritten.ts";

/** Ids that one read of the store names. */
const chunkSize = 500;

/**
 * An engine for runtimes that ask before each step, and tell what they do. What it knows, its doors were told (`runs`): it
 * keeps that in the store, and asks nobody else. A hold is a step whose ask stays open.
 */
export class GateEngine implements Engine {
  readonly name: string;
  readonly capabilities: Capabilities = gateCapabilities;
  /** For the doors. */
  readonly runs: GateRuns;
  readonly #store: Store;

  private constructor(name: string, store: Store, runs: GateRuns) {
    this.name = name;
    this.#store = store;
    this.runs = runs;
  }

  /** With what was kept when the server last stopped. `limits`: what differs from `defaultRunLimits`. */
  static async open(name: string, store: Store, log: Logger, limits: Partial<RunLimits> = {}): Promise<GateEngine> {
    return new GateEngine(name, store, await GateRuns.open(name, store, { ...defaultRunLimits, ...limits }, log));
  }

  isId(text: string): boolean {
    return this.runs.knows(text);
  }

  async probe(signal?: AbortSignal): Promise<{ version: string }> {
    await this.#read(() => this.#store.gateRuns.list(this.name, {}, 1), signal);
    return { version: "of its runtime" };
  }

  async list(query: ListQuery, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const { limit, after, ...filter } = query;
    const { found, unwritten } = await this.#read(
      (otherThan) => this.#store.gateRuns.list(this.name, { ...filter, after, otherThan }, limit),
      signal,
    );
    const added = workflowsIn(unwritten).filter(
      (one) => matches(filter, one) && (!after || newestFirst(after, one) < 0),
    );
    return first(limit, found.map(workflowOf), added, newestFirst);
  }

  async open({ anyOf, children, paused }: OpenQuery, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    signal?.throwIfAborted();
    return [...this.runs.all()]
      .filter(({ status }) => paused || status !== "paused")
      .map((run) => run.workflow)
      .filter(
        (workflow) => anyOf.some((query) => matches(query, workflow)) || (children && workflow.parentId !== undefined),
      );
  }

  async statuses(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, EngineStatus>> {
    signal?.throwIfAborted();
    const shown = new Map<string, EngineStatus>();
    for (const id of ids) {
      const run = this.runs.get(id);
      if (run) shown.set(id, run.status);
    }
    return shown;
  }

  async count(query: WorkflowQuery, signal?: AbortSignal): Promise<Record<EngineStatus, number>> {
    const { found, unwritten } = await this.#read(
      (otherThan) => this.#store.gateRuns.count(this.name, { ...query, otherThan }),
      signal,
    );
    const counts = { ...noWorkflows(), ...found };
    for (const one of workflowsIn(unwritten)) if (matches(query, one)) counts[one.status] += 1;
    return counts;
  }

  /** Labels are of workflows, here, and not of handlers. */
  async handlersWith(_labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<string[]> {
    signal?.throwIfAborted();
    return [];
  }

  async get(ids: readonly string[], signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const workflows: EngineWorkflow[] = [];
    for (const chunk of chunks([...new Set(ids)]))
      workflows.push(...(await this.#runsOf(chunk, signal)).map(workflowOf));
    return workflows;
  }

  async observe(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, Observation>> {
    const seen = new Map<string, Observation>();
    for (const chunk of chunks([...new Set(ids)])) {
      for (const { run, steps } of await this.#withSteps(chunk, signal)) {
        const { id, status, phase } = run;
        seen.set(id, { status, phase, steps: steps.map(observed), hidesStep: false });
      }
    }
    return seen;
  }

  async timers(_ids: readonly string[], signal?: AbortSignal): Promise<EngineTimer[]> {
    signal?.throwIfAborted();
    return [];
  }

  /** Nothing else pauses, here. */
  async pausedByGate(ids: readonly string[], signal?: AbortSignal): Promise<Set<string>> {
    signal?.throwIfAborted();
    return new Set(ids.filter((id) => this.runs.get(id)?.status === "paused"));
  }

  async trace(id: string, signal?: AbortSignal): Promise<EngineTraceEntry[] | undefined> {
    const [one] = await this.#withSteps([id], signal);
    return one && [started(one.run), ...one.steps.map(traced), ...ended(one.run)];
  }

  async changedSince(since: Date, limit: number, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const { found, unwritten } = await this.#read(
      (otherThan) => this.#store.gateRuns.changedSince(this.name, { otherThan }, since.getTime(), limit),
      signal,
    );
    const added = workflowsIn(unwritten).filter(({ updateTime }) => updateTime >= since);
    return first(limit, found.map(workflowOf), added, longestUnchangedFirst);
  }

  async hold(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, HoldAnswer>> {
    signal?.throwIfAborted();
    const answers = ids.map((id): [string, HoldAnswer] => {
      if (this.runs.hold(id)) return [id, { kind: "accepted", time: Date.now() }];
      return [id, { kind: this.runs.knows(id) ? "notYet" : "unknown" }];
    });
    await this.#kept();
    return new Map(answers);
  }

  async release(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, ReleaseAnswer>> {
    signal?.throwIfAborted();
    const answers = ids.map((id): [string, ReleaseAnswer] => {
      if (this.runs.release(id)) return [id, { kind: "released" }];
      return [id, { kind: this.runs.knows(id) ? "ended" : "unknown" }];
    });
    await this.#kept();
    return new Map(answers);
  }

  close(): Promise<void> {
    return this.runs.close();
  }

  /** Those of the ids that are known. */
  async #runsOf(ids: readonly string[], signal: AbortSignal | undefined): Promise<StoredRun[]> {
    const { found, unwritten } = await this.#read(
      (otherThan) => this.#store.gateRuns.list(this.name, { ids, otherThan }, ids.length),
      signal,
    );
    return [...found, ...ids.flatMap((id) => unwritten.get(id)?.run ?? [])];
  }

  /** The same with all that they did. */
  async #withSteps(
    ids: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<{ readonly run: StoredRun; readonly steps: readonly StoredStep[] }[]> {
    const { found, unwritten } = await this.#read(async (otherThan) => {
      const [runs, steps] = await Promise.all([
        this.#store.gateRuns.list(this.name, { ids, otherThan }, ids.length),
        this.#store.gateRuns.steps(this.name, ids),
      ]);
      return { runs, steps: Map.groupBy(steps, ({ runId }) => runId) };
    }, signal);
    const runs = [...found.runs, ...ids.flatMap((id) => unwritten.get(id)?.run ?? [])];
    return runs.map((run) => ({ run, steps: stepsWith(found.steps.get(run.id) ?? [], unwritten.get(run.id)) }));
  }

  /**
   * Reads the store, with all in it that was told; where it refuses to be written, what it has not is beside it.
   * @param query reads what is other than these ids: they are among what is unwritten, or forgotten.
   */
  async #read<Result>(
    query: (otherThan: readonly string[] | undefined) => Promise<Result>,
    signal: AbortSignal | undefined,
  ): Promise<{ found: Result; unwritten: ReadonlyMap<string, Unwritten> }> {
    signal?.throwIfAborted();
    await this.#kept();
    // Before the store is read: what is written meanwhile is counted once.
    const { unwritten, forgotten } = this.runs;
    const otherThan = [...unwritten.keys(), ...forgotten];
    try {
      return { found: await query(otherThan.length === 0 ? undefined : otherThan), unwritten };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new MissionControlError("ENGINE_UNAVAILABLE", `what ${this.name} keeps cannot be read: ${message}`, {
        metadata: { engine: this.name },
        cause: error,
      });
    } finally {
      signal?.throwIfAborted();
    }
  }

  /** A disk that refuses keeps nothing from being held, or shown as it is: `runs.fault` tells of it. */
  async #kept(): Promise<void> {
    await this.runs.written().catch(() => undefined);
  }
}

function workflowsIn(unwritten: ReadonlyMap<string, Unwritten>): EngineWorkflow[] {
  return [...unwritten.values()].map(({ run }) => workflowOf(run));
}

type Placed = Pick<EngineWorkflow, "createTime" | "id">;

/** As the store orders its lists. */
function newestFirst(a: Placed, b: Placed): number {
  return b.createTime.getTime() - a.createTime.getTime() || Buffer.compare(Buffer.from(b.id), Buffer.from(a.id));
}

function longestUnchangedFirst(a: EngineWorkflow, b: EngineWorkflow): number {
  return a.updateTime.getTime() - b.updateTime.getTime() || Buffer.compare(Buffer.from(a.id), Buffer.from(b.id));
}

function first(
  limit: number,
  found: EngineWorkflow[],
  added: readonly EngineWorkflow[],
  order: (a: EngineWorkflow, b: EngineWorkflow) => number,
): EngineWorkflow[] {
  return added.length === 0 ? found : [...found, ...added].sort(order).slice(0, limit);
}

function observed({ index, name, startTime, endTime, outcome }: StoredStep): ObservedStep {
  return {
    index,
    name,
    startTime: new Date(startTime),
    endTime: endTime === undefined ? undefined : new Date(endTime),
    succeeded: outcome === "succeeded",
    failing: false,
  };
}

const nothing = {
  endTime: undefined,
  outcome: "none",
  errorMessage: "",
  childId: undefined,
  dueTime: undefined,
} as const;

function started({ createTime, type, startTime, inputs }: StoredRun): EngineTraceEntry {
  return { ...nothing, kind: "started", name: type, startTime: new Date(startTime ?? createTime), inputs };
}

function traced({
  name,
  startTime,
  endTime,
  outcome,
  errorMessage,
  inputs,
  agent,
  riskLevel,
}: StoredStep): EngineTraceEntry {
  return {
    ...nothing,
    kind: "step",
    name,
    startTime: new Date(startTime),
    endTime: endTime === undefined ? undefined : new Date(endTime),
    outcome: outcome === "unknown" ? "none" : outcome,
    errorMessage: outcome === "unknown" ? "nobody told how it ended" : errorMessage,
    inputs,
    agent,
    riskLevel,
  };
}

function ended({ endTime, status, errorMessage }: StoredRun): EngineTraceEntry[] {
  if (endTime === undefined) return [];
  const outcome = status === "completed" ? "succeeded" : status === "canceled" ? "canceled" : "failed";
  return [{ ...nothing, kind: "ended", name: status, startTime: new Date(endTime), outcome, errorMessage }];
}

function* chunks(ids: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < ids.length; at += chunkSize) yield ids.slice(at, at + chunkSize);
}
