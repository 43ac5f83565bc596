import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Engine } from "../engines/engine.ts";
import { within } from "../engines/outage.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Reach } from "../policy/reach.ts";
import type { Brakes } from "./brakes.ts";
import { SequenceTokens } from "./feed/sequence-tokens.ts";
import { matches, type WorkflowFilter, type Workflows } from "./workflows.ts";

const limits = {
  /** Between two looks at an engine for changes, ms. */
  pollMs: 500,
  /** Changes are read again this far back: an engine's clock and its record of a change are not of one moment. */
  overlapMs: 2_000,
  /** Rows of one look. */
  rows: 1_000,
  /** Changes that are remembered for those who come back. */
  remembered: 10_000,
  /** Workflows whose last state is remembered, to tell a change from a repetition. */
  known: 100_000,
  /** Different workflows that may wait for one slow watcher. */
  waiting: 10_000,
  /** Watchers at a time. */
  watchers: 1_000,
  /** How long the pollers go on after the last watcher left, ms. */
  lingerMs: 5_000,
  /** Silence after which a watcher gets a sign of life, ms. */
  heartbeatMs: 15_000,
  /** What a brake changed is shown at once where the engine answers within this time, else with its next poll, ms. */
  lookMs: 2_000,
  /** A watcher whose snapshot lacks an engine that answers again gets another one, but not more often than this, ms. */
  snapshotMs: 5_000,
} as const;

/** One event for a watcher. */
export interface FeedEvent {
  readonly kind: "snapshotBegin" | "snapshot" | "snapshotEnd" | "changed" | "heartbeat";
  readonly workflow: Workflow | undefined;
  readonly resumeToken: string;
  /** Engines that do not answer, of those that are watched; told with the end of a snapshot and with heartbeats. */
  readonly unreachableEngines: readonly string[];
}

interface Change {
  readonly seq: number;
  readonly workflow: Workflow;
}

/** One watcher's mailbox: the latest state of each workflow that changed, in the order of their last change. */
class Mailbox {
  readonly #reach: Reach;
  readonly #waiting = new Map<string, Change>();
  #ring: (() => void) | undefined;
  overflowed = false;
  /** True where an engine went away or came back since it was told. */
  outagesChanged = false;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  /** What is beyond its watcher's reach is not put: neither does it wake nor fill it. */
  put(change: Change): void {
    if (this.overflowed || !this.#reach.admits(change.workflow.engine, change.workflow)) return;
    // A newer state goes to the end: a token that was given out says that everything before it was delivered.
    this.#waiting.delete(change.workflow.workflowId);
    this.#waiting.set(change.workflow.workflowId, change);
    if (this.#waiting.size > limits.waiting) {
      this.overflowed = true;
      this.#waiting.clear();
    }
    this.#ring?.();
  }

  /** An engine went away or came back. */
  noteOutages(): void {
    this.outagesChanged = true;
    this.#ring?.();
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  take(): Change | undefined {
    for (const [id, change] of this.#waiting) {
      this.#waiting.delete(id);
      return change;
    }
    return undefined;
  }

  /** Resolves when something is there, after the time, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#waiting.size > 0 || this.outagesChanged) return;
    const rung = new AbortController();
    this.#ring = () => rung.abort();
    await delay(ms, undefined, { signal: AbortSignal.any([rung.signal, signal]) }).catch(() => undefined);
    this.#ring = undefined;
  }
}

/** Changes of workflows, from one poller for each engine, whatever the number of watchers. It rests while nobody watches. */
export class Feed {
  readonly #engines: EngineRegistry;
  readonly #workflows: Workflows;
  readonly #log: Logger;
  readonly #tokens = new SequenceTokens();
  readonly #mailboxes = new Set<Mailbox>();
  readonly #remembered: Change[] = [];
  readonly #known = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #toLook = new Set<string>();
  /** Engines that do not answer their pollers. */
  readonly #away = new Set<string>();
  #looking: Promise<void> | undefined;
  #seq = 0;
  #pollers: Promise<void>[] = [];
  #resting: NodeJS.Timeout | undefined;
  #rest = new AbortController();

  constructor(engines: EngineRegistry, workflows: Workflows, brakes: Brakes, log: Logger) {
    this.#engines = engines;
    this.#workflows = workflows;
    this.#log = log;
    const off = brakes.onChange(({ workflowIds }) => {
      if (this.#mailboxes.size === 0) return;
      for (const workflowId of workflowIds) this.#toLook.add(workflowId);
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
    });
    this.#stop.signal.addEventListener("abort", off, { once: true });
  }

  /** What matches, as it is, then every change, until the signal aborts. Throws SLOW_CONSUMER, TOO_MANY_WATCHERS. */
  async *watch(
    filter: WorkflowFilter,
    resumeToken: string,
    signal: AbortSignal,
    reach: Reach,
  ): AsyncGenerator<FeedEvent> {
    if (this.#mailboxes.size >= limits.watchers) {
      throw new MissionControlError("TOO_MANY_WATCHERS", `${limits.watchers} watchers are the limit: close some first`);
    }
    const mailbox = new Mailbox(reach);
    this.#mailboxes.add(mailbox);
    this.#poll();
    const ending = AbortSignal.any([signal, this.#stop.signal]);
    try {
      const sent = new Set<string>();
      const missed = this.#since(resumeToken);
      const replayed = missed === undefined ? 0 : this.#seq;
      const watched = this.#engines.select(filter.engines, reach).map(({ name }) => name);
      const away = () => watched.filter((engine) => this.#away.has(engine));
      // What the snapshot lacks, and when it was made.
      let lacking = new Set<string>();
      let snapshotTime = 0;
      if (missed) for (const change of missed) mailbox.put(change);
      else {
        lacking = yield* this.#snapshot(filter, sent, away, ending, reach);
        snapshotTime = performance.now();
      }
      let told = String(away());
      while (!ending.aborted) {
        if (mailbox.overflowed) {
          throw new MissionControlError(
            "SLOW_CONSUMER",
            `more than ${limits.waiting} changes wait for you: watch again with your last resume_token, or with a filter`,
          );
        }
        const again = [...lacking].some((engine) => !this.#away.has(engine));
        const early = limits.snapshotMs - (performance.now() - snapshotTime);
        if (again && early <= 0) {
          sent.clear();
          lacking = yield* this.#snapshot(filter, sent, away, ending, reach);
          snapshotTime = performance.now();
        }
        const change = mailbox.take();
        if (change === undefined) {
          const waitedFrom = performance.now();
          const waitMs = again ? Math.min(Math.max(early, 0), limits.heartbeatMs) : limits.heartbeatMs;
          await mailbox.wait(waitMs, ending);
          mailbox.outagesChanged = false;
          const silent = performance.now() - waitedFrom >= limits.heartbeatMs;
          const isNews = String(away()) !== told;
          if ((silent || isNews) && mailbox.isEmpty) {
            told = String(away());
            yield this.#event("heartbeat", undefined, this.#seq, away());
          }
          continue;
        }
        const id = change.workflow.workflowId;
        const matching = matches(filter, change.workflow);
        // One that left the filter's statuses is sent once more, so that nobody keeps a stale line. To one who came back everything that it missed is sent so, once: what it knew before is not known here.
        const leaves =
          (sent.delete(id) || change.seq <= replayed) && matches({ ...filter, statuses: [] }, change.workflow);
        if (matching) sent.add(id);
        if (!matching && !leaves) continue;
        const [workflow] = await this.#workflows.withoutParents(reach, [change.workflow], ending);
        yield this.#event("changed", workflow, change.seq);
      }
      if (this.#stop.signal.aborted) throw new MissionControlError("SHUTTING_DOWN", "the server stops: watch again");
    } finally {
      this.#mailboxes.delete(mailbox);
      if (this.#mailboxes.size === 0) this.#restSoon();
    }
  }

  /** Ends all watchers. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#rest.abort();
    await Promise.all(this.#pollers);
  }

  async *#snapshot(
    filter: WorkflowFilter,
    sent: Set<string>,
    away: () => readonly string[],
    signal: AbortSignal,
    reach: Reach,
  ): AsyncGenerator<FeedEvent, Set<string>> {
    const from = this.#seq;
    yield { kind: "snapshotBegin", workflow: undefined, resumeToken: "", unreachableEngines: [] };
    const lacking = new Set<string>();
    let pageToken = "";
    do {
      const page = await this.#workflows.list(filter, 500, pageToken, signal, reach);
      for (const engine of page.unreachableEngines) lacking.add(engine);
      for (const workflow of page.workflows) {
        sent.add(workflow.workflowId);
        yield { kind: "snapshot", workflow, resumeToken: "", unreachableEngines: [] };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && !signal.aborted);
    yield this.#event("snapshotEnd", undefined, from, [...lacking.union(new Set(away()))].sort());
    return lacking;
  }

  /** The changes behind a token, as far as they are remembered; undefined: a snapshot is needed. */
  #since(token: string): Change[] | undefined {
    const seq = this.#tokens.read(token);
    if (seq === undefined || seq > this.#seq) return undefined;
    const oldest = this.#remembered[0]?.seq ?? this.#seq + 1;
    // While nobody watched, nobody looked: changes of that time are not remembered.
    if (seq < oldest - 1) return undefined;
    return this.#remembered.filter((change) => change.seq > seq);
  }

  #event(
    kind: FeedEvent["kind"],
    workflow: Workflow | undefined,
    seq: number,
    unreachableEngines: readonly string[] = [],
  ): FeedEvent {
    return { kind, workflow, resumeToken: this.#tokens.write(seq), unreachableEngines };
  }

  /** Who was cut off comes back within this time and misses nothing. */
  #restSoon(): void {
    this.#resting = setTimeout(() => this.#rest.abort(), limits.lingerMs).unref();
  }

  #poll(): void {
    clearTimeout(this.#resting);
    if (this.#pollers.length > 0 && !this.#rest.signal.aborted) return;
    // What happened while the pollers rested is unknown, so tokens of before are worth nothing.
    this.#remembered.length = 0;
    this.#known.clear();
    this.#away.clear();
    this.#seq++;
    this.#rest = new AbortController();
    const { signal } = this.#rest;
    this.#pollers = this.#engines.select().map((engine) => this.#follow(engine, signal));
  }

  async #follow(engine: Engine, signal: AbortSignal): Promise<void> {
    let since = new Date(Date.now() - limits.overlapMs);
    while (!signal.aborted) {
      try {
        const rows = await engine.changedSince(since, limits.rows, signal);
        for (const row of rows) this.#publish(this.#workflows.view(engine.name, row));
        const last = rows.at(-1)?.updateTime.getTime() ?? 0;
        // A full page goes on where it ended; otherwise the overlap is kept.
        const next = rows.length === limits.rows ? last : Math.max(since.getTime(), last - limits.overlapMs);
        const stuck = rows.length === limits.rows && next <= since.getTime();
        since = new Date(stuck ? next + 1 : next);
        if (this.#away.delete(engine.name)) this.#noteOutages();
        if (rows.length === limits.rows) continue;
      } catch (error) {
        if (signal.aborted) return;
        if (!this.#away.has(engine.name)) {
          this.#log.warn({ err: error, engine: engine.name }, "watch: the engine does not answer");
          this.#away.add(engine.name);
          this.#noteOutages();
        }
      }
      await delay(limits.pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #noteOutages(): void {
    for (const mailbox of this.#mailboxes) mailbox.noteOutages();
  }

  /** Brakes changed: their workflows are shown at once, not at the next poll. One look at a time takes all that wait. */
  async #look(): Promise<void> {
    while (this.#toLook.size > 0) {
      const waiting = [...this.#toLook];
      this.#toLook.clear();
      const byEngine = Map.groupBy(waiting, (workflowId) => parseWorkflowId(workflowId)?.engine ?? "");
      await Promise.all([...byEngine].map(([engine, workflowIds]) => this.#lookAt(engine, workflowIds)));
    }
  }

  async #lookAt(name: string, workflowIds: readonly string[]): Promise<void> {
    const ids = workflowIds.map((workflowId) => parseWorkflowId(workflowId)?.id ?? "");
    try {
      const engine = this.#engines.named(name);
      const rows = await within(name, limits.lookMs, undefined, (signal) => engine.get(ids, signal));
      for (const row of rows) this.#publish(this.#workflows.view(name, row));
    } catch (error) {
      this.#log.warn({ err: error, engine: name }, "watch: changes of brakes could not be shown");
    }
  }

  #publish(workflow: Workflow): void {
    const id = workflow.workflowId;
    const state = `${workflow.etag} ${workflow.updateTime ? timestampMs(workflow.updateTime) : 0} ${workflow.statusDetail}`;
    if (this.#known.get(id) === state) return;
    this.#known.delete(id);
    this.#known.set(id, state);
    if (this.#known.size > limits.known) for (const oldest of this.#known.keys().take(1)) this.#known.delete(oldest);
    const change = { seq: ++this.#seq, workflow };
    this.#remembered.push(change);
    if (this.#remembered.length > limits.remembered) this.#remembered.shift();
    for (const mailbox of this.#mailboxes) mailbox.put(change);
  }
}
