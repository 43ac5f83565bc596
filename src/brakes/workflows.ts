import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  TraceEntry_Kind as Kind,
  TraceEntry_Outcome as Outcome,
  type Workflow_Status as Status,
  type TraceEntry,
  TraceEntrySchema,
  type Workflow,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Engine, EngineTraceEntry, EngineWorkflow } from "../engines/engine.ts";
import { within } from "../engines/outage.ts";
import { type EngineRegistry, workflowNotFound } from "../engines/registry.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import { Reach } from "../policy/reach.ts";
import type { Held, Traits } from "../store/brake.ts";
import type { Store } from "../store/store.ts";
import type { Brakes } from "./brakes.ts";
import { holds } from "./halt.ts";
import { advance, compare, type Place, type Progress, placeIn, readPageToken, writePageToken } from "./page-token.ts";
import { Relatives } from "./relatives.ts";
import { shownIn } from "./status.ts";
import { viewOf } from "./view.ts";

/** Which workflows; all that is set has to match. Empty lists match everything. */
export interface WorkflowFilter {
  readonly statuses: readonly Status[];
  readonly types: readonly string[];
  readonly engines: readonly string[];
  /** Each "key=value"; all have to be there. */
  readonly labels: readonly string[];
  readonly createdAfter?: Date | undefined;
  readonly createdBefore?: Date | undefined;
}

/** A page is filled from at most this many reads of an engine: a filter that matches little ends with a short page. */
const maxReads = 10;

/** Of several engines, one that has not answered within this time is told as unreachable, and asked again with the next page, ms. */
const answerWithinMs = 2_000;

/** Reads workflows over all engines, each with the brakes on it. Beyond the reach that is given, there is nothing. */
export class Workflows {
  readonly #engines: EngineRegistry;
  readonly #relatives: Relatives;
  readonly #brakes: Brakes;
  readonly #store: Store;

  constructor(engines: EngineRegistry, brakes: Brakes, store: Store) {
    this.#engines = engines;
    this.#relatives = new Relatives(engines);
    this.#brakes = brakes;
    this.#store = store;
  }

  /** One workflow with its steps. Throws WORKFLOW_NOT_FOUND. */
  async get(text: string, signal?: AbortSignal, reach: Reach = Reach.everything): Promise<Workflow> {
    const { engine, id, workflowId } = this.#engines.locate(text, reach);
    // The brakes are read first: a standstill noted while the engine answers belongs to a later look.
    const brakes = this.#brakes.on(workflowId);
    const [[shown], seen] = await Promise.all([engine.get([id], signal), engine.observe([id], signal)]);
    if (shown === undefined) throw workflowNotFound(text);
    // After the same questions as for one that is not there: no clock tells the one from the other.
    if (!reach.admits(engine.name, shown)) {
      throw workflowNotFound(text, `${workflowId} is there, beyond the scope of the caller's roles`);
    }
    const [workflow] = await this.withoutParents(reach, [viewOf(engine.name, shown, brakes, seen.get(id))], signal);
    return workflow as Workflow;
  }

  /** A page, the newest first; the engines that did not answer are named. Throws where none answered. */
  async list(
    filter: WorkflowFilter,
    pageSize: number,
    pageToken: string,
    signal?: AbortSignal,
    reach: Reach = Reach.everything,
  ): Promise<{ workflows: Workflow[]; nextPageToken: string; unreachableEngines: string[] }> {
    const digest = filterDigest(filter, reach);
    const before: Progress =
      pageToken === "" ? { common: undefined, behind: new Map() } : readPageToken(pageToken, digest);
    const engines = this.#engines.select(filter.engines, reach);
    if (engines.length === 0) return { workflows: [], nextPageToken: "", unreachableEngines: [] };
    const results = await Promise.allSettled(
      engines.map((engine) => {
        const ask = (bounded?: AbortSignal) =>
          this.#listOne(engine, filter, pageSize, placeIn(before, engine.name), reach, bounded);
        return engines.length === 1 ? ask(signal) : within(engine.name, answerWithinMs, signal, ask);
      }),
    );
    const found: Listed[] = [];
    const unreachable: { engine: string; reason: unknown }[] = [];
    // Behind the place up to which every engine was read, there may be more of one that gave up early.
    let horizon: Place | undefined;
    let more = false;
    for (const [index, result] of results.entries()) {
      if (result.status === "rejected") {
        unreachable.push({ engine: engines[index]?.name ?? "", reason: result.reason });
        continue;
      }
      found.push(...result.value.found);
      if (result.value.readUpTo === undefined) continue;
      more = true;
      if (horizon === undefined || compare(result.value.readUpTo, horizon) < 0) horizon = result.value.readUpTo;
    }
    if (unreachable.length === engines.length) throw unreachable[0]?.reason;
    signal?.throwIfAborted();
    const sorted = found.sort((a, b) => compare(a.place, b.place) || (a.workflow.engine < b.workflow.engine ? -1 : 1));
    const page = sorted.filter(({ place }) => !horizon || compare(place, horizon) <= 0).slice(0, pageSize);
    const isFull = page.length === pageSize;
    const end = isFull ? page.at(-1)?.place : horizon;
    const answered = engines.map(({ name }) => ({
      name,
      answered: !unreachable.some(({ engine }) => engine === name),
    }));
    return {
      workflows: await this.withoutParents(
        reach,
        page.map(({ workflow }) => workflow),
        signal,
      ),
      // Of those that do not answer nobody knows whether there is more: the page says that they are missing.
      nextPageToken:
        end && (more || sorted.length > page.length) ? writePageToken(advance(before, end, answered), digest) : "",
      unreachableEngines: unreachable.map(({ engine }) => engine),
    };
  }

  /** The timeline: what the engine recorded, and what was done by brakes. Throws WORKFLOW_NOT_FOUND. */
  async trace(text: string, signal?: AbortSignal, reach: Reach = Reach.everything): Promise<TraceEntry[]> {
    const { engine, id, workflowId } = this.#engines.locate(text, reach);
    const [own, held] = await Promise.all([engine.trace(id, signal), this.#store.heldOf(workflowId)]);
    if (own === undefined) throw workflowNotFound(text);
    const entries = [
      ...own
        .filter((entry) => entry.kind !== "paused" || !isOurs(entry, held))
        .map((entry) => traceEntry(engine.name, entry)),
      ...held.flatMap(controlEntries),
    ];
    entries.sort((a, b) => startMs(a) - startMs(b));
    for (const [index, entry] of entries.entries()) entry.index = index;
    return this.#relatives.withoutChildren(reach, entries, signal);
  }

  /** The workflows, each with its parent only where that is within reach. */
  withoutParents(reach: Reach, workflows: readonly Workflow[], signal?: AbortSignal): Promise<Workflow[]> {
    return this.#relatives.withoutParents(reach, workflows, signal);
  }

  /** What its engine tells of each of them, unless the engine is beyond reach or does not know it. Throws ENGINE_UNAVAILABLE. */
  traits(reach: Reach, workflowIds: readonly string[], signal?: AbortSignal): Promise<Map<string, Traits>> {
    return this.#relatives.traits(reach, workflowIds, signal);
  }

  /** The view of what an engine showed. */
  view(engine: string, shown: EngineWorkflow): Workflow {
    return viewOf(engine, shown, this.#brakes.on(formatWorkflowId(engine, shown.id)));
  }

  async #listOne(
    engine: Engine,
    filter: WorkflowFilter,
    pageSize: number,
    after: Place | undefined,
    reach: Reach,
    signal?: AbortSignal,
  ): Promise<{ found: Listed[]; readUpTo: Place | undefined }> {
    const found: Listed[] = [];
    const statuses = filter.statuses.length === 0 ? undefined : [...new Set(filter.statuses.flatMap(shownIn))];
    let place = after;
    for (let reads = 0; reads < maxReads; reads++) {
      const limit = Math.max(pageSize, 50);
      const within = reach.on(engine.name);
      const rows = await engine.list({ ...engineFilter(filter), statuses, within, after: place, limit }, signal);
      for (const row of rows) {
        if (!reach.admits(engine.name, row)) continue;
        const workflow = this.view(engine.name, row);
        if (filter.statuses.length > 0 && !filter.statuses.includes(workflow.status)) continue;
        found.push({ place: placeOf(row), workflow });
      }
      const last = rows.at(-1);
      if (rows.length < limit || last === undefined) return { found, readUpTo: undefined };
      // A token must not carry the id of what is beyond reach: it goes on behind its moment.
      place = reach.admits(engine.name, last) ? placeOf(last) : { createTime: last.createTime, id: "" };
      if (found.length >= pageSize) break;
    }
    return { found, readUpTo: place };
  }
}

/** True where the workflow, as seen, is one that the filter asks for. */
export function matches(filter: WorkflowFilter, workflow: Workflow): boolean {
  const some = (wanted: readonly unknown[], value: unknown) => wanted.length === 0 || wanted.includes(value);
  return (
    some(filter.statuses, workflow.status) &&
    some(filter.types, workflow.type) &&
    some(filter.engines, workflow.engine) &&
    Object.entries(labelsOf(filter)).every(([key, value]) => workflow.labels[key] === value)
  );
}

interface Listed {
  readonly place: Place;
  readonly workflow: Workflow;
}

function placeOf(row: EngineWorkflow): Place {
  return { createTime: row.createTime, id: row.id };
}

function engineFilter(filter: WorkflowFilter) {
  return {
    types: filter.types.length === 0 ? undefined : filter.types,
    labels: labelsOf(filter),
    createdAfter: filter.createdAfter,
    createdBefore: filter.createdBefore,
  };
}

function labelsOf(filter: WorkflowFilter): Record<string, string> {
  return Object.fromEntries(
    filter.labels.map((label) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]),
  );
}

function filterDigest(filter: WorkflowFilter, reach: Reach): string {
  return createHash("sha256")
    .update(JSON.stringify([filter, reach.key]))
    .digest("base64url")
    .slice(0, 12);
}

const kinds: Record<EngineTraceEntry["kind"], Kind> = {
  step: Kind.STEP,
  sleep: Kind.SLEEP,
  call: Kind.CALL,
  send: Kind.SEND,
  await: Kind.AWAIT,
  state: Kind.STATE,
  attemptFailed: Kind.ATTEMPT_FAILED,
  paused: Kind.CONTROL,
  started: Kind.STARTED,
  ended: Kind.ENDED,
  other: Kind.KIND_UNSPECIFIED,
};

const outcomes: Record<EngineTraceEntry["outcome"], Outcome> = {
  none: Outcome.OUTCOME_UNSPECIFIED,
  inFlight: Outcome.IN_FLIGHT,
  succeeded: Outcome.SUCCEEDED,
  failed: Outcome.FAILED,
  canceled: Outcome.CANCELED,
};

function traceEntry(engine: string, entry: EngineTraceEntry): TraceEntry {
  const result = create(TraceEntrySchema, {
    kind: kinds[entry.kind],
    name: entry.name,
    startTime: timestampFromDate(entry.startTime),
    outcome: outcomes[entry.outcome],
    errorMessage: entry.errorMessage,
    inputs: entry.inputs ?? "",
    agent: entry.agent ?? "",
    riskLevel: entry.riskLevel ?? "",
    childWorkflowId: entry.childId === undefined ? "" : formatWorkflowId(engine, entry.childId),
  });
  if (entry.endTime) {
    result.endTime = timestampFromDate(entry.endTime);
    result.duration = durationFromMs(entry.endTime.getTime() - entry.startTime.getTime());
  }
  if (entry.dueTime) result.dueTime = timestampFromDate(entry.dueTime);
  return result;
}

/** What people and brakes did, in the workflow's own line of time. */
function controlEntries({ brake, hold }: Held): TraceEntry[] {
  const entry = (name: string, time: number, actor: string, reason: string, auditEntryId: string) =>
    create(TraceEntrySchema, {
      kind: Kind.CONTROL,
      name,
      startTime: timestampFromMs(time),
      actor,
      reason,
      auditEntryId,
      brakeId: brake.brakeId,
    });
  const entries = [entry("pause", hold.catchTime, brake.engagedBy, brake.reason, brake.engageEntryId)];
  const { standstillTime } = hold.halt;
  if (standstillTime !== undefined) entries.push(entry("standstill", standstillTime, "", "", ""));
  const { release } = brake;
  if (release && !holds({ brake, hold })) {
    const name = brake.state === "EXPIRED" ? "expire" : release.by === "" ? "end" : "resume";
    const time = Math.max(release.time, hold.halt.releaseTime ?? release.time);
    entries.push(entry(name, time, release.by, release.reason, release.entryId));
  }
  return entries;
}

/** The engine notes every pause; those that a brake made are told by the brake. */
function isOurs(paused: EngineTraceEntry, held: readonly Held[]): boolean {
  const at = paused.startTime.getTime();
  return held.some(
    ({ brake, hold }) =>
      !hold.halt.foundPaused && hold.catchTime <= at && at <= (brake.release?.time ?? at) + afterReleaseMs,
  );
}

/** A pause that was asked for before a release may come true this long after it. */
const afterReleaseMs = 60_000;

function startMs(entry: TraceEntry): number {
  return entry.startTime ? timestampMs(entry.startTime) : 0;
}
