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
import { type AdminAddress, AdminApi, type Lane } from "./restate/admin-api.ts";
import { restateCapabilities } from "./restate/capabilities.ts";
import { type EventRow, type JournalRow, journalColumns, stepsOf, traceOf, wakeUpTime } from "./restate/journal.ts";
import { cachedMetadata } from "./restate/metadata.ts";
import { type LatestPause, latestPauses, type PauseRow } from "./restate/pauses.ts";
import {
  type AttemptRow,
  attemptColumns,
  type InvocationRow,
  invocationColumns,
  openStatusOf,
  toWorkflow,
} from "./restate/rows.ts";
import { countWhere, inList, isInvocationId, listWhere, openWhere, quote, timestamp } from "./restate/sql.ts";

/** How many invocations one query or one round of control calls takes at the most. */
const chunkSize = 200;
/** How many invocations the batch endpoint takes. */
const batchSize = 1000;
/** More than this are asked for without naming them: the engine finds all that is open faster than so many by their ids. */
const manyIds = 2_000;
/** Fewer than this are paused one by one: the documented way. */
const fewIds = 4;
/** How many pause or resume calls are under way at a time: more does not make the engine faster (facts/restate.md). */
const concurrency = 32;
/** How many journals one query reads whole: a cut-off one would hide a step in flight. */
const journalsPerQuery = 100;
/** Within this time what a worker has begun is in the journal, ms; what it began later may have been cut off unheard. */
const unheardMs = 1_000;
/** A journal longer than this is shown from its beginning up to here. */
const journalLimit = 20_000;

/**
 * Restate, by its admin API. A hold is Restate's own pause: a step in flight finishes, its result is kept, then the
 * invocation stands. Two traps are dealt with here: a suspended invocation answers 200 to a pause and wakes up all the same,
 * so it is resumed first; a scheduled or queued one cannot be paused before it begins.
 */
export class RestateEngine implements Engine {
  readonly name: string;
  readonly #api: AdminApi;
  readonly #metadata: ReturnType<typeof cachedMetadata>;
  /** Restate's virtual queues: off by default in 1.7, on by default in 1.8. They hold suspended invocations by themselves. */
  #virtualQueues: boolean | undefined;

  constructor(name: string, address: AdminAddress) {
    this.name = name;
    this.#api = new AdminApi(name, address);
    this.#metadata = cachedMetadata(this.#api);
  }

  get capabilities(): Capabilities {
    return this.#virtualQueues ? restateCapabilities.virtualQueues : restateCapabilities.default;
  }

  isId(text: string): boolean {
    return isInvocationId(text);
  }

  async probe(signal?: AbortSignal): Promise<{ version: string }> {
    const { version, features } = await this.#api.get<{ version: string; features?: { vqueues?: boolean } }>(
      "/version",
      signal,
    );
    this.#virtualQueues = features?.vqueues === true;
    // /version answers before queries do, and the brake needs both.
    await this.#api.query("SELECT 1", "read", signal);
    return { version };
  }

  async list(query: ListQuery, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const where = listWhere(query, await this.#metadata("read", signal));
    if (where === undefined) return [];
    return this.#workflows(
      await this.#api.query<InvocationRow>(
        `SELECT ${invocationColumns} FROM sys_invocation_status WHERE ${where} ORDER BY created_at DESC, id DESC LIMIT ${query.limit}`,
        "read",
        signal,
      ),
      signal,
    );
  }

  async open(query: OpenQuery, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    // Whoever asks what is open is about to tell what a brake would do to it: from here on `capabilities` knows.
    await this.#cutsOff(signal);
    const metadata = await this.#metadata("brake", signal);
    const where = openWhere(query, metadata);
    if (where === undefined) return [];
    const rows = await this.#api.query<InvocationRow>(
      `SELECT ${invocationColumns} FROM sys_invocation_status WHERE ${where}`,
      "brake",
      signal,
    );
    return rows.map((row) => toWorkflow(row, undefined, metadata));
  }

  async statuses(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, EngineStatus>> {
    const known = ids.filter(isInvocationId);
    const asked = new Set(known);
    const named =
      known.length > manyIds ? [""] : [...chunks(known, batchSize)].map((some) => ` AND id IN ${inList(some)}`);
    const shown = new Map<string, EngineStatus>();
    for (const which of named) {
      const rows = await this.#api.query<Pick<InvocationRow, "id" | "status">>(
        `SELECT id, status FROM sys_invocation_status WHERE status <> 'completed'${which}`,
        "brake",
        signal,
      );
      for (const { id, status } of rows) if (asked.has(id)) shown.set(id, openStatusOf(status));
    }
    return shown;
  }

  async handlersWith(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<string[]> {
    const metadata = await this.#metadata("brake", signal);
    return [...metadata].flatMap(([service, { labels: own, handlers }]) =>
      [...handlers]
        .filter(([, more]) => {
          const all: Record<string, string> = { ...own, ...more };
          return Object.entries(labels).every(([key, value]) => Object.hasOwn(all, key) && all[key] === value);
        })
        .map(([handler]) => `${service}/${handler}`),
    );
  }

  async count(query: WorkflowQuery, signal?: AbortSignal): Promise<Record<EngineStatus, number>> {
    const counts = noWorkflows();
    const where = countWhere(query, await this.#metadata("read", signal));
    if (where === undefined) return counts;
    const rows = await this.#api.query<
      Pick<InvocationRow, "status" | "completion_result" | "completion_failure"> & { n: number }
    >(
      `SELECT status, completion_result, CASE WHEN completion_failure LIKE '[409] %' THEN completion_failure END AS completion_failure, count(*) AS n FROM sys_invocation_status WHERE ${where} GROUP BY 1, 2, 3`,
      "read",
      signal,
    );
    const blank = {
      id: "",
      target: "",
      target_service_name: "",
      target_handler_name: "",
      created_at: "",
      modified_at: "",
    };
    for (const { n, ...row } of rows)
      counts[toWorkflow({ ...blank, ...row }, undefined, new Map()).status] += Number(n);
    return counts;
  }

  async get(ids: readonly string[], signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const found: EngineWorkflow[] = [];
    for (const chunk of chunks(ids.filter(isInvocationId))) {
      const rows = await this.#api.query<InvocationRow>(
        `SELECT ${invocationColumns} FROM sys_invocation_status WHERE id IN ${inList(chunk)}`,
        "read",
        signal,
      );
      found.push(...(await this.#workflows(rows, signal)));
    }
    return found;
  }

  async observe(ids: readonly string[], signal?: AbortSignal, urgent = false): Promise<Map<string, Observation>> {
    const lane = urgent ? "brake" : "read";
    const observations = new Map<string, Observation>();
    for (const chunk of chunks(ids.filter(isInvocationId), journalsPerQuery)) {
      // The journal is read before the status: a status of "paused" then covers every step that the journal showed.
      const journals = Map.groupBy(await this.#stepRows(chunk, lane, signal), (row) => row.id);
      const invocations = await this.#api.query<InvocationRow>(
        `SELECT ${invocationColumns} FROM sys_invocation_status WHERE id IN ${inList(chunk)}`,
        lane,
        signal,
      );
      const attempts = await this.#attempts(chunk, lane, signal);
      const paused = invocations.filter((row) => row.status === "paused").map((row) => row.id);
      const pauses = paused.length > 0 ? await this.#pauses(paused, lane, signal) : new Map<string, LatestPause>();
      const failed = await this.#failedSteps(pauses, lane, signal);
      const cutsOff = await this.#cutsOff(signal);
      const moves = cutsOff ? await this.#lastMoves(paused, lane, signal) : undefined;
      const metadata = await this.#metadata(lane, signal);
      for (const row of invocations) {
        const { status, phase } = toWorkflow(row, attempts.get(row.id), metadata);
        const pause = status === "paused" ? pauses.get(row.id) : undefined;
        const steps = stepsOf(journals.get(row.id) ?? []);
        // Steps that a gate holds are in the journal, but unless an attempt at one has failed they never started.
        const hasFailed = ({ index }: ObservedStep) => failed.get(row.id)?.has(index) === true;
        const started = pause?.byGate ? steps.filter((step) => step.endTime || hasFailed(step)) : steps;
        // Where steps are seen through, one that has not ended is between two attempts; else only what the engine noted tells.
        const told = started.map((step) => ({
          ...step,
          failing: pause !== undefined && step.endTime === undefined && (!cutsOff || hasFailed(step)),
        }));
        const moved = moves?.get(row.id)?.getTime();
        const hidesStep = moved !== undefined && pause?.byGate === false && pause.time.getTime() - moved < unheardMs;
        observations.set(row.id, { status, phase, steps: told, hidesStep });
      }
    }
    return observations;
  }

  async pausedByGate(ids: readonly string[], signal?: AbortSignal): Promise<Set<string>> {
    const found = new Set<string>();
    for (const chunk of chunks(ids.filter(isInvocationId))) {
      for (const [id, { byGate }] of await this.#pauses(chunk, "brake", signal)) if (byGate) found.add(id);
    }
    return found;
  }

  async timers(ids: readonly string[], signal?: AbortSignal): Promise<EngineTimer[]> {
    const found: EngineTimer[] = [];
    for (const chunk of chunks(ids.filter(isInvocationId), batchSize)) {
      const rows = await this.#api.query<JournalRow>(
        `SELECT ${journalColumns} FROM sys_journal WHERE id IN ${inList(chunk)} AND entry_type = 'Command: Sleep'`,
        "read",
        signal,
      );
      for (const row of rows) {
        const dueTime = wakeUpTime(row);
        if (dueTime && dueTime.getTime() > Date.now()) found.push({ id: row.id, dueTime, what: row.name || "sleep" });
      }
    }
    return found;
  }

  async trace(id: string, signal?: AbortSignal): Promise<EngineTraceEntry[] | undefined> {
    const [workflow] = await this.get([id], signal);
    if (workflow === undefined) return undefined;
    const rows = await this.#api.query<JournalRow>(
      `SELECT ${journalColumns} FROM sys_journal WHERE id = ${quote(id)} ORDER BY "index" LIMIT ${journalLimit}`,
      "read",
      signal,
    );
    const events = await this.#api.query<EventRow>(
      `SELECT after_journal_entry_index, appended_at, event_type, event_json FROM sys_journal_events WHERE id = ${quote(id)} LIMIT 1000`,
      "read",
      signal,
    );
    const entries = traceOf(rows, events, {
      ended: workflow.endTime !== undefined,
      canceled: workflow.status === "canceled",
    });
    // What an invocation awaits from outside leaves nothing in the journal before it arrives.
    if (workflow.phase === "suspended" && !entries.some((entry) => entry.outcome === "inFlight")) {
      entries.push({
        kind: "await",
        name: "signal",
        startTime: workflow.updateTime,
        endTime: undefined,
        outcome: "inFlight",
        errorMessage: "",
        childId: undefined,
        dueTime: undefined,
      });
    }
    return entries;
  }

  async changedSince(since: Date, limit: number, signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const rows = await this.#api.query<InvocationRow>(
      `SELECT ${invocationColumns} FROM sys_invocation_status WHERE modified_at >= ${timestamp(since)} ORDER BY modified_at, id LIMIT ${limit}`,
      "read",
      signal,
    );
    return this.#workflows(rows, signal);
  }

  async hold(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, HoldAnswer>> {
    const known = ids.filter(isInvocationId);
    if (!(await this.#cutsOff(signal))) await this.#controlAll("resume", await this.#suspended(known, signal), signal);
    const answers = await this.#controlAll("pause", known, signal);
    return everyOne(ids, answers, ({ failure, time }): HoldAnswer => {
      if (failure === undefined) return { kind: "accepted", time };
      if (/^404|not found/.test(failure)) return { kind: "unknown" };
      // "is not running" is said of what has not begun and of what has ended: which of them is told by the next look.
      if (/^409|not running/.test(failure)) return { kind: "notYet" };
      return { kind: "refused", message: failure };
    });
  }

  async release(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, ReleaseAnswer>> {
    const answers = await this.#controlAll("resume", ids.filter(isInvocationId), signal);
    return everyOne(ids, answers, ({ failure }): ReleaseAnswer => {
      if (failure === undefined) return { kind: "released" };
      if (/^404|not found/.test(failure)) return { kind: "unknown" };
      if (/^409|completed/.test(failure)) return { kind: "ended" };
      return { kind: "refused", message: failure };
    });
  }

  close(): void {
    this.#api.close();
  }

  async #workflows(rows: readonly InvocationRow[], signal?: AbortSignal): Promise<EngineWorkflow[]> {
    const open = rows.filter((row) => row.status !== "completed").map((row) => row.id);
    const attempts = await this.#attemptsOf(open, signal);
    const metadata = await this.#metadata("read", signal);
    return rows.map((row) => toWorkflow(row, attempts.get(row.id), metadata));
  }

  async #attemptsOf(ids: readonly string[], signal?: AbortSignal): Promise<Map<string, AttemptRow>> {
    const all = new Map<string, AttemptRow>();
    for (const chunk of chunks(ids.filter(isInvocationId))) {
      for (const [id, row] of await this.#attempts(chunk, "read", signal)) all.set(id, row);
    }
    return all;
  }

  async #attempts(ids: readonly string[], lane: Lane, signal?: AbortSignal): Promise<Map<string, AttemptRow>> {
    const rows = await this.#api.query<AttemptRow>(
      `SELECT ${attemptColumns} FROM sys_invocation WHERE id IN ${inList(ids)}`,
      lane,
      signal,
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  async #stepRows(ids: readonly string[], lane: Lane, signal?: AbortSignal): Promise<JournalRow[]> {
    return this.#api.query<JournalRow>(
      `SELECT ${journalColumns} FROM sys_journal WHERE id IN ${inList(ids)} AND entry_type IN ('Command: Run', 'Notification: Run') ORDER BY id, "index"`,
      lane,
      signal,
    );
  }

  /** True where a pause cuts a step in flight off. */
  async #cutsOff(signal?: AbortSignal): Promise<boolean> {
    if (this.#virtualQueues === undefined) await this.probe(signal);
    return this.#virtualQueues === true;
  }

  /** When each last did anything that the engine heard of. */
  async #lastMoves(ids: readonly string[], lane: Lane, signal?: AbortSignal): Promise<Map<string, Date>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#api.query<{ id: string; time: string }>(
      `SELECT id, max(appended_at) AS time FROM sys_journal WHERE id IN ${inList(ids)} GROUP BY id`,
      lane,
      signal,
    );
    return new Map(rows.map(({ id, time }) => [id, new Date(time)]));
  }

  async #pauses(ids: readonly string[], lane: Lane, signal?: AbortSignal): Promise<Map<string, LatestPause>> {
    const rows = await this.#api.query<PauseRow>(
      `SELECT id, event_type, appended_at, event_json FROM sys_journal_events WHERE event_type IN ('Paused', 'TransientError') AND id IN ${inList(ids)} ORDER BY id, appended_at`,
      lane,
      signal,
    );
    return latestPauses(rows);
  }

  /** The journal's indexes of the commands that have failed in an attempt. */
  async #failedSteps(
    pauses: ReadonlyMap<string, LatestPause>,
    lane: Lane,
    signal?: AbortSignal,
  ): Promise<Map<string, Set<number>>> {
    const ids = [...pauses].filter(([, { failedCommands }]) => failedCommands.size > 0).map(([id]) => id);
    if (ids.length === 0) return new Map();
    const rows = await this.#api.query<{ id: string; index: number }>(
      `SELECT id, "index" FROM sys_journal WHERE id IN ${inList(ids)} AND starts_with(entry_type, 'Command: ') ORDER BY id, "index"`,
      lane,
      signal,
    );
    const commands = Map.groupBy(rows, ({ id }) => id);
    return new Map(
      ids.map((id) => {
        const numbers = pauses.get(id)?.failedCommands ?? new Set();
        const failed = (commands.get(id) ?? []).filter((_row, number) => numbers.has(number));
        return [id, new Set(failed.map(({ index }) => index))];
      }),
    );
  }

  /** Those that Restate would wake up instead of pausing. */
  async #suspended(ids: readonly string[], signal?: AbortSignal): Promise<string[]> {
    if (ids.length === 0) return [];
    // Of very many all suspended ones are asked for, once: naming them takes the engine longer than looking at everything.
    const named = ids.length > batchSize ? "" : ` AND id IN ${inList(ids)}`;
    const rows = await this.#api.query<{ id: string }>(
      `SELECT id FROM sys_invocation_status WHERE status = 'suspended'${named}`,
      "brake",
      signal,
    );
    const asked = new Set(ids);
    return rows.map(({ id }) => id).filter((id) => asked.has(id));
  }

  /** Each id with what the engine answered. */
  async #controlAll(
    action: "pause" | "resume",
    ids: readonly string[],
    signal?: AbortSignal,
  ): Promise<Map<string, ControlAnswer>> {
    const answers = new Map<string, ControlAnswer>();
    for (const chunk of chunks(ids, batchSize)) {
      const failed = chunk.length < fewIds ? undefined : await this.#api.controlBatch(action, chunk, signal);
      if (failed === undefined) {
        await this.#oneByOne(action, chunk, answers, signal);
        continue;
      }
      const time = Date.now();
      const accepted = { failure: undefined, time };
      for (const id of chunk) {
        const failure = failed.get(id);
        answers.set(id, failure === undefined ? accepted : { failure, time });
      }
    }
    return answers;
  }

  async #oneByOne(
    action: "pause" | "resume",
    ids: readonly string[],
    answers: Map<string, ControlAnswer>,
    signal?: AbortSignal,
  ): Promise<void> {
    const waiting = ids.values();
    const worker = async () => {
      for (const id of waiting) {
        const { status, message } = await this.#api.control(action, id, signal);
        const failure = status === 200 || status === 202 ? undefined : `${status}: ${message}`;
        answers.set(id, { failure, time: Date.now() });
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, ids.length) }, worker));
  }
}

/** The engine's message where it failed, undefined where it accepted; and when it answered, in ms since the epoch. */
interface ControlAnswer {
  readonly failure: string | undefined;
  readonly time: number;
}

/** Each of the ids with what it came to: what is no id of Restate's was not asked for, and is unknown. */
function everyOne<Answer>(
  ids: readonly string[],
  answers: ReadonlyMap<string, ControlAnswer>,
  judge: (answer: ControlAnswer) => Answer,
): Map<string, Answer | { readonly kind: "unknown" }> {
  const judged = new Map<string, Answer | { readonly kind: "unknown" }>();
  // Of a batch nearly all are answered by the same.
  let last: { readonly answer: ControlAnswer; readonly judgment: Answer } | undefined;
  for (const id of ids) {
    const answer = answers.get(id);
    if (answer !== undefined && last?.answer !== answer) last = { answer, judgment: judge(answer) };
    judged.set(id, answer === undefined || last === undefined ? { kind: "unknown" } : last.judgment);
  }
  return judged;
}

function* chunks(ids: readonly string[], size = chunkSize): Generator<readonly string[]> {
  for (let at = 0; at < ids.length; at += size) yield ids.slice(at, at + size);
}
