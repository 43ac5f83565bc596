import { setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineWorkflow, WorkflowQuery } from "../engines/engine.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import type { Logger } from "../log.ts";
import type { Brake, Held, Hold } from "../store/brake.ts";
import type { Brakes } from "./brakes.ts";
import { type Catching, catchAll } from "./catch.ts";
import { afterRelease, drifted, haltedSteps, holds, released, settled, standstill } from "./halt.ts";

/** Times in ms. */
const pace = {
  /** Between two rounds while there is anything to hold or to let go: new ones may start at any moment. */
  round: 50,
  /** Ask an engine again to hold what it accepted to hold: it may have restarted and forgotten. */
  askAgain: 150,
  /** Between two looks at everything that stands, for what has ended meanwhile. */
  sweep: 5_000,
  /** The longest pause after failures in a row. */
  maxBackOff: 5_000,
} as const;

/** What one round takes on at the most, so that rounds stay short. */
const share = {
  /** Workflows that are let go in one round: the bounded rate of a release. */
  releases: 500,
  /** Journals that are read for receipts. */
  receipts: 500,
  /** Ids in one query. */
  ids: 1_000,
} as const;

/** What the reconciler needs of the gates: their workers pause by themselves what their rules say. */
export interface GatesOfEngine {
  /** Resolves once the attached gates hold by no rule that is over, or after a bounded time. */
  lowered(): Promise<void>;
  /** Takes the ids of workflows that a gate paused and that may be nobody's to hold. */
  takeHeld(): readonly string[];
}

/** How an engine's reconciler is doing. */
export interface ReconcilerState {
  readonly engine: string;
  /** How long the last full round took, in ms. */
  readonly roundMs: number;
  /** When it ended. */
  readonly roundTime: Date | undefined;
  /** Undefined while rounds succeed. */
  readonly fault: { readonly since: Date; readonly message: string } | undefined;
}

/**
 * Makes the brakes true on one engine, level-triggered: every round compares what should be held with what the engine shows
 * and closes the difference, whatever made it: a run that starts or comes up from a queue, a sleeper that wakes, a resume in
 * the engine's own tool, an engine that restarted and forgot. It alone writes the holds on its engine's workflows.
 */
export class Reconciler {
  readonly #engine: Engine;
  readonly #brakes: Brakes;
  readonly #catching: Catching;
  readonly #gates: GatesOfEngine;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #asked = new Map<string, number>();
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  #roundMs = 0;
  #roundTime: Date | undefined;
  #sweepTime = 0;
  #fault: ReconcilerState["fault"];

  constructor(engine: Engine, brakes: Brakes, catching: Catching, gates: GatesOfEngine, log: Logger) {
    this.#engine = engine;
    this.#brakes = brakes;
    this.#catching = catching;
    this.#gates = gates;
    this.#log = log;
  }

  get state(): ReconcilerState {
    return { engine: this.#engine.name, roundMs: this.#roundMs, roundTime: this.#roundTime, fault: this.#fault };
  }

  start(): void {
    const off = this.#brakes.onChange(() => this.#wake.abort());
    this.#running = this.#loop().finally(off);
  }

  /** Begins the next round now. */
  wake(): void {
    this.#wake.abort();
  }

  /** Ends after the round under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      let pauseMs: number | undefined;
      const began = performance.now();
      try {
        const busy = await this.#round();
        this.#roundMs = Math.round(performance.now() - began);
        this.#roundTime = new Date();
        this.#fault = undefined;
        failures = 0;
        // A round over very many leaves the engine as much time as it took.
        if (busy) pauseMs = Math.max(pace.round, this.#roundMs);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (!this.#fault) this.#log.error({ err: error, engine: this.#engine.name }, "reconciler: round failed");
        this.#fault = { since: this.#fault?.since ?? new Date(), message };
        pauseMs = Math.min(pace.round * 2 ** failures++, pace.maxBackOff);
      }
      if (this.#stop.signal.aborted) return;
      // Nothing to do: sleep until a brake changes. Otherwise a change cuts the pause short.
      if (pauseMs === undefined) await aborted(signal);
      else await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One round over everything; false where there is nothing to hold and nothing to let go. */
  async #round(): Promise<boolean> {
    await this.#liftStrays();
    const standing = this.#catching.standing();
    const mine = this.#mine();
    if (standing.length === 0 && mine.size === 0) {
      this.#asked.clear();
      return false;
    }
    const moving = await this.#moving(standing, mine);
    await this.#catch(standing, moving);
    const toHold = moving.filter(({ id }) => this.#on(id).some(holds)).map(({ id }) => id);
    await this.#noteDrift(toHold, moving);
    await this.#hold(toHold);
    await this.#inspect();
    await this.#sweep();
    await this.#fillReceipts();
    return true;
  }

  /** Workflows of this engine with holds that are not settled, by the engine's own id. */
  #mine(): Map<string, readonly Held[]> {
    const mine = new Map<string, readonly Held[]>();
    for (const workflowId of this.#brakes.workflowIds()) {
      const parsed = parseWorkflowId(workflowId);
      if (parsed?.engine === this.#engine.name) mine.set(parsed.id, this.#brakes.on(workflowId));
    }
    return mine;
  }

  #on(id: string): Held[] {
    return this.#brakes.on(formatWorkflowId(this.#engine.name, id));
  }

  /** Open workflows that do not stand and that a brake is about. */
  async #moving(standing: readonly Brake[], mine: ReadonlyMap<string, readonly Held[]>): Promise<EngineWorkflow[]> {
    const queries: WorkflowQuery[] = [];
    for (const brake of standing) {
      const query = this.#catching.selector(brake).listQuery(this.#engine.name);
      if (query) queries.push({ ...query, statuses: undefined });
    }
    const named = [...mine].filter(([, held]) => held.some(({ brake }) => brake.workflowId !== "")).map(([id]) => id);
    const children = standing.some((brake) => brake.includeDescendants);
    const [first = [], ...rest] = chunks(named);
    if (first.length > 0) queries.push({ ids: first });
    const found =
      queries.length + Number(children) > 0
        ? [await this.#engine.open({ anyOf: queries, children, paused: false })]
        : [];
    for (const ids of rest) found.push(await this.#engine.open({ anyOf: [{ ids }], children: false, paused: false }));
    return found.flat();
  }

  /** Catches what the standing brakes match; what stands already too, once for each brake. */
  async #catch(standing: readonly Brake[], moving: readonly EngineWorkflow[]): Promise<void> {
    for (const brake of standing) {
      const query = this.#catching.selector(brake).listQuery(this.#engine.name);
      // The first look is at everything: also at what is paused already, so that it stays so when others let go.
      const first = this.#catching.isFirstLook(brake, this.#engine.name);
      const rows =
        first && query
          ? await this.#engine.open({
              anyOf: [{ ...query, statuses: undefined }],
              children: brake.includeDescendants,
              paused: true,
            })
          : moving;
      const found = catchAll(this.#brakes, this.#catching.selector(brake), brake, this.#engine.name, rows, true);
      await this.#note("brake.caught", found, `${countOf(found)} on ${this.#engine.name} caught`);
      this.#catching.looked(brake, this.#engine.name);
    }
  }

  /** What stood and does not any more is noted when it is seen: a moment later it may stand again. */
  async #noteDrift(ids: readonly string[], moving: readonly EngineWorkflow[]): Promise<void> {
    const phases = new Map(moving.map(({ id, phase }) => [id, phase]));
    const now = Date.now();
    const moved = ids.flatMap((id) =>
      this.#on(id)
        .filter((held) => holds(held) && held.hold.halt.standstillTime !== undefined)
        .map(({ hold }) => ({ ...hold, halt: drifted(hold.halt, now) })),
    );
    const seen = [...new Set(moved.map((hold) => phases.get(idOf(hold))))].join(", ");
    await this.#note("brake.drift", moved, `${countOf(moved)} let go elsewhere (seen ${seen}), halted again`);
  }

  async #hold(ids: readonly string[]): Promise<void> {
    const now = Date.now();
    const due = ids.filter((id) => now - (this.#asked.get(id) ?? 0) >= pace.askAgain);
    if (due.length === 0) return;
    for (const id of due) this.#asked.set(id, now);
    const answers = await this.#engine.hold(due);
    const acceptTime = Date.now();
    const accepted: Hold[] = [];
    for (const [id, answer] of answers) {
      if (answer.kind === "refused") {
        this.#log.warn({ engine: this.#engine.name, id, message: answer.message }, "the engine refused to hold");
      }
      if (answer.kind !== "accepted") continue;
      for (const held of this.#on(id)) {
        if (!holds(held) || held.hold.halt.acceptTime !== undefined) continue;
        accepted.push({ ...held.hold, halt: { ...held.hold.halt, acceptTime } });
      }
    }
    await this.#note("brake.accepted", accepted, `the engine accepted to halt ${countOf(accepted)}`);
  }

  /** Looks closer at what is held and has not been seen to stand, and at what is released and has not been seen to move. */
  async #inspect(): Promise<void> {
    const ids = [...this.#mine()]
      .filter(([, held]) => held.some((one) => !holds(one) || one.hold.halt.standstillTime === undefined))
      .map(([id]) => id);
    if (ids.length === 0) return;
    const shown = await this.#shown(ids);
    const now = Date.now();
    const ended: Hold[] = [];
    const stood: Hold[] = [];
    const releasing: string[] = [];
    for (const id of ids) {
      const held = this.#on(id);
      const workflow = shown.get(id);
      if (workflow === undefined) {
        this.#asked.delete(id);
        ended.push(...held.map(({ hold }) => settled({ ...hold, ended: true })));
      } else if (held.some(holds)) {
        if (workflow.status !== "paused") continue;
        this.#asked.delete(id);
        for (const one of held) {
          if (!holds(one)) continue;
          if (one.hold.halt.standstillTime === undefined)
            stood.push({ ...one.hold, halt: standstill(one.hold.halt, now) });
        }
      }
      if (workflow !== undefined && held.some((one) => !holds(one))) releasing.push(id);
    }
    await this.#note("brake.ended", ended, `${countOf(ended)} ended, or no longer known to the engine`);
    await this.#standstill(stood);
    await this.#letGo(releasing, shown);
  }

  /** A standstill of a few is told with what their journals say; of many, the journals are read afterwards. */
  async #standstill(stood: readonly Hold[]): Promise<void> {
    const few = stood.length > 0 && stood.length <= share.receipts ? await this.#withSteps(stood) : stood;
    await this.#note("brake.standstill", few, `${countOf(few)} seen paused with no step in flight`);
  }

  /** The holds with what became of the steps, where the journal could be read. */
  async #withSteps(stood: readonly Hold[]): Promise<Hold[]> {
    const seen = await this.#engine.observe(stood.map((hold) => idOf(hold)));
    return stood.map((hold) => {
      const observation = seen.get(idOf(hold));
      return observation ? { ...hold, halt: { ...hold.halt, steps: haltedSteps(hold.halt, observation) } } : hold;
    });
  }

  async #fillReceipts(): Promise<void> {
    const open: Hold[] = [];
    for (const held of this.#mine().values()) {
      for (const { hold } of held) {
        if (hold.halt.standstillTime !== undefined && hold.halt.steps === undefined) open.push(hold);
        if (open.length >= share.receipts) break;
      }
      if (open.length >= share.receipts) break;
    }
    if (open.length === 0) return;
    const filled = (await this.#withSteps(open)).filter((hold) => hold.halt.steps !== undefined);
    await this.#note("brake.receipt", filled, `the journals of ${countOf(filled)} that stand were read`);
  }

  /** Released holds: lifts a pause that is ours and that nobody else holds, and settles what moves or is free to. */
  async #letGo(ids: readonly string[], shown: ReadonlyMap<string, EngineWorkflow>): Promise<void> {
    const now = Date.now();
    const done: Hold[] = [];
    const noted: Hold[] = [];
    const paused: string[] = [];
    const unsure: string[] = [];
    for (const id of ids) {
      const held = this.#on(id);
      const free = held.filter((one) => !holds(one)).map(({ hold }) => hold);
      const status = shown.get(id)?.status ?? "running";
      // Others hold it: the pause becomes theirs, and these have nothing left to do.
      if (held.some(holds)) done.push(...free.map(settled));
      else {
        const fresh = free.filter((hold) => hold.halt.releaseTime === undefined);
        noted.push(...fresh.map((hold) => ({ ...hold, halt: released(hold.halt, status, now) })));
        if (fresh.length > 0) continue;
        // Somebody else's pause stays, also where brakes of ours lay on top of it.
        if (free.every((hold) => hold.halt.foundPaused)) done.push(...free.map(settled));
        else if (status === "paused") paused.push(id);
        else if (free.some((hold) => hold.halt.pausePending)) unsure.push(id);
        else done.push(...free.map(settled));
      }
    }
    // Noted first and carried out in the next round, at once: a crash in between forgets nothing.
    await this.#note("brake.letting-go", noted, `${countOf(noted)} to be let go`);
    const lifting = paused.slice(0, share.releases);
    if (lifting.length > 0) {
      // A gate that still holds would pause it again at its next step, and no brake would know.
      await this.#gates.lowered();
      for (const [id, answer] of await this.#engine.release(lifting)) {
        if (answer.kind !== "refused") continue;
        this.#log.warn({ engine: this.#engine.name, id, message: answer.message }, "the engine refused to release");
      }
    }
    for (const [id, observation] of await this.#engine.observe(unsure.slice(0, share.receipts))) {
      const free = this.#on(id).map(({ hold }) => hold);
      done.push(...free.filter((hold) => afterRelease(hold.halt, observation, now) === "settle").map(settled));
    }
    await this.#note("brake.settled", done, `${countOf(done)} go on, or stay with who else holds them`);
  }

  /** What a gate paused by a rule that was over, or for lack of a connection, and that no brake holds, goes on. */
  async #liftStrays(): Promise<void> {
    const strays = this.#gates.takeHeld().filter((id) => this.#on(id).length === 0);
    if (strays.length === 0) return;
    await this.#gates.lowered();
    const shown = await this.#shown(strays);
    const paused = strays.filter((id) => shown.get(id)?.status === "paused" && this.#on(id).length === 0);
    if (paused.length > 0) await this.#engine.release(paused);
  }

  /** Now and then everything that stands is looked at: it may have been ended in the engine's own tool. */
  async #sweep(): Promise<void> {
    if (Date.now() - this.#sweepTime < pace.sweep) return;
    this.#sweepTime = Date.now();
    const ids = [...this.#mine().keys()];
    const shown = await this.#shown(ids);
    const ended = ids
      .filter((id) => !shown.has(id))
      .flatMap((id) => this.#on(id).map(({ hold }) => settled({ ...hold, ended: true })));
    await this.#note("brake.ended", ended, `${countOf(ended)} ended, or no longer known to the engine`);
  }

  /** Those of the ids that are open, as the engine shows them. */
  async #shown(ids: readonly string[]): Promise<Map<string, EngineWorkflow>> {
    const shown = new Map<string, EngineWorkflow>();
    for (const chunk of chunks(ids)) {
      for (const workflow of await this.#engine.open({ anyOf: [{ ids: chunk }], children: false, paused: true })) {
        shown.set(workflow.id, workflow);
      }
    }
    return shown;
  }

  /** One ledger entry for each brake. */
  async #note(action: string, changed: readonly Hold[], message: string): Promise<void> {
    for (const [brakeId, holdsOfOne] of Map.groupBy(changed, (hold) => hold.brakeId)) {
      const brake = this.#brakes.active(brakeId);
      const about = {
        message,
        reason: brake?.release?.reason || brake?.reason || "",
        emergency: brake?.emergency ?? false,
      };
      await this.#brakes.update(action, { holds: holdsOfOne }, about);
    }
  }
}

function idOf(hold: Hold): string {
  return parseWorkflowId(hold.workflowId)?.id ?? "";
}

function countOf(changed: readonly Hold[]): string {
  return changed.length === 1 ? "1 workflow" : `${changed.length} workflows`;
}

function chunks(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / share.ids) }, (_, n) =>
    ids.slice(n * share.ids, (n + 1) * share.ids),
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
