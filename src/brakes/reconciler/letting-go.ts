import type { EngineStatus, EngineWorkflow } from "../../engines/engine.ts";
import { formatWorkflowId } from "../../engines/workflow-id.ts";
import type { Hold } from "../../store/brake.ts";
import { afterRelease, holds, released, settled } from "../halt.ts";
import { openByIds } from "../open-by-ids.ts";
import { countOf, type EngineBrakes } from "./engine-brakes.ts";

/** By default, the most workflows that are let go in one second on each engine. */
export const defaultReleaseRate = 10_000;
/**
 * Workflows that are noted as let go in one write. The first of them are few, so that the engine is asked for them as soon as
 * possible; the others are written while it is busy with those.
 */
const pages = { first: 1_000, other: 10_000 } as const;
/** Journals that are read in one round, for those that may still come to a pause. */
const journalsPerRound = 200;

/** Between two looks at everything that stands paused, ms. */
const sweepMs = 5_000;
/** From a gate's word to its pause in the engine, at the most, ms. */
const toldMs = 10_000;

/** What letting go needs of the gates: their workers pause by themselves what their rules say. */
export interface GatesOfEngine {
  /** Resolves once the attached gates hold by no rule that is over, or after a bounded time. */
  lowered(): Promise<void>;
  /** True once a gate has been attached since the server started: what it told may be lost. */
  readonly areUsed: boolean;
  /** Takes the ids of workflows that a gate paused and that may be nobody's to hold. */
  takeHeld(): readonly string[];
}

/** Lets go on one engine what brakes no longer hold, and sees it move. */
export class LettingGo {
  readonly #on: EngineBrakes;
  readonly #gates: GatesOfEngine;
  /** What gates told of, by the engine's own id, and when. */
  readonly #strays = new Map<string, number>();
  #sweepTime = 0;
  /** Where the next round begins to read journals. */
  #unsureFrom = 0;
  readonly #rate: number;
  /** The second that is running, on the monotonic clock, and how many were let go in it. */
  #second = { began: Number.NEGATIVE_INFINITY, released: 0 };

  /** @param rate the most workflows that are let go in one second. */
  constructor(on: EngineBrakes, gates: GatesOfEngine, rate: number) {
    this.#on = on;
    this.#gates = gates;
    this.#rate = rate;
  }

  /** True where a look now and then is needed though no brake is engaged. */
  get hasGates(): boolean {
    return this.#gates.areUsed;
  }

  /** True while gates have told of something that nobody has looked at to the end. */
  get isWaiting(): boolean {
    return this.#strays.size > 0;
  }

  /** Lifts pauses that are ours and that nobody else holds, and settles what moves or is free to. */
  async round(shown: ReadonlyMap<string, EngineStatus>): Promise<void> {
    const now = Date.now();
    const done: Hold[] = [];
    const fresh = new Map<string, readonly Hold[]>();
    const paused: string[] = [];
    const unsure: string[] = [];
    const takenBack: string[] = [];
    const { halt, releaseTakesBack } = this.#on.engine.capabilities;
    for (const [id, status] of shown) {
      const held = this.#on.on(id);
      const free = held.filter((one) => !holds(one)).map(({ hold }) => hold);
      const unnoted = free.filter((hold) => hold.halt.releaseTime === undefined);
      // Others hold it: the pause becomes theirs, and these have nothing left to do.
      if (held.some(holds)) done.push(...free.map(settled));
      else if (unnoted.length > 0) {
        const noted = unnoted.map((hold) => ({ ...hold, halt: released(hold.halt, status, now) }));
        fresh.set(id, noted);
      }
      // Somebody else's pause stays, also where brakes of ours lay on top of it.
      else if (free.every((hold) => hold.halt.foundPaused)) done.push(...free.map(settled));
      else if (status === "paused") paused.push(id);
      // Where each step is asked for, a hold that was taken back cannot come true later.
      else if (halt === "gate" && releaseTakesBack) takenBack.push(id);
      else if (free.some((hold) => hold.halt.pausePending)) unsure.push(id);
      else done.push(...free.map(settled));
    }
    await this.#release(this.#allowed(paused));
    for (const id of await this.#release(this.#allowed(takenBack))) {
      const free = this.#on.on(id).filter((one) => !holds(one));
      done.push(...free.map(({ hold }) => settled(hold)));
    }
    await this.#begin(fresh, shown);
    const { engine, signal } = this.#on;
    // Round by round through all of them.
    if (this.#unsureFrom >= unsure.length) this.#unsureFrom = 0;
    const looked = unsure.slice(this.#unsureFrom, this.#unsureFrom + journalsPerRound);
    this.#unsureFrom += journalsPerRound;
    for (const [id, seen] of await engine.observe(looked, signal, true)) {
      const free = this.#on.on(id).filter((one) => !holds(one));
      done.push(
        ...free.filter(({ hold }) => afterRelease(hold.halt, seen, now) === "settle").map(({ hold }) => settled(hold)),
      );
    }
    await this.#on.note("brake.settled", done, `${countOf(done)} go on, or stay with who else holds them`);
  }

  /**
   * Notes that they are let go, and then lets those of them go that stand. No pause is asked for after the note, so one that
   * comes true later was asked for before it. What cannot be noted is not let go.
   */
  async #begin(fresh: ReadonlyMap<string, readonly Hold[]>, shown: ReadonlyMap<string, EngineStatus>): Promise<void> {
    const ids = [...fresh.keys()];
    let releasing: Promise<unknown> = Promise.resolve();
    for (let from = 0, size: number = pages.first; from < ids.length; from += size, size = pages.other) {
      const page = ids.slice(from, from + size);
      const holds = page.flatMap((id) => fresh.get(id) ?? []);
      const noted = await this.#on.note("brake.letting-go", holds, `${countOf(holds)} to be let go`);
      await releasing;
      if (!noted) return;
      const ours = (id: string) => !this.#on.on(id).every(({ hold }) => hold.halt.foundPaused);
      releasing = this.#release(this.#allowed(page.filter((id) => shown.get(id) === "paused" && ours(id))));
      // It is waited for before anything else is done, and its failure is the round's.
      releasing.catch(() => undefined);
    }
    await releasing;
  }

  /** As many of them as may be let go in this second: the others wait for a later round. */
  #allowed(ids: readonly string[]): readonly string[] {
    const now = performance.now();
    if (now - this.#second.began >= 1_000) this.#second = { began: now, released: 0 };
    const allowed = ids.slice(0, this.#rate - this.#second.released);
    this.#second.released += allowed.length;
    return allowed;
  }

  /**
   * What gates have paused and no brake holds: what they told of, at once, and now and then whatever the engine shows, for
   * what they told may be lost.
   */
  async heldByNobody(): Promise<EngineWorkflow[]> {
    const { engine, signal } = this.#on;
    const now = Date.now();
    for (const id of this.#gates.takeHeld()) this.#strays.set(id, now);
    // Once at the start, for what an earlier server was told; later only where there are gates.
    if (this.#sweepTime === 0 || (this.#gates.areUsed && now - this.#sweepTime >= sweepMs)) {
      const query = { anyOf: [{ statuses: ["paused" as const] }], children: false, paused: true };
      for (const { id } of await engine.open(query, signal)) if (this.#isNobodys(id)) this.#strays.set(id, now);
      this.#sweepTime = now;
    }
    if (this.#strays.size === 0) return [];
    const shown = new Map((await openByIds(engine, [...this.#strays.keys()], signal)).map((row) => [row.id, row]));
    const paused = [...shown.values()].filter(({ id, status }) => status === "paused" && this.#isNobodys(id));
    const byGate = await engine.pausedByGate(
      paused.map(({ id }) => id),
      signal,
    );
    for (const [id, since] of this.#strays) {
      // A gate tells of it a moment before the engine shows it.
      const coming = this.#isNobodys(id) && shown.get(id)?.status === "running" && now - since < toldMs;
      if (!coming && !byGate.has(id)) this.#strays.delete(id);
    }
    return paused.filter(({ id }) => byGate.has(id));
  }

  /** Lets those of them go on that nobody holds: their gate had a rule that is over, or no connection. */
  async lift(held: readonly EngineWorkflow[]): Promise<void> {
    const free = held.filter(({ id }) => this.#isNobodys(id));
    for (const { id } of free) {
      const workflowId = formatWorkflowId(this.#on.engine.name, id);
      await this.#on.brakes.record("brake.stray", workflowId, "paused by a gate, held by no brake: it goes on");
    }
    for (const id of await this.#release(free.map(({ id }) => id))) this.#strays.delete(id);
  }

  #isNobodys(id: string): boolean {
    return this.#on.on(id).length === 0;
  }

  /** Those that were let go. */
  async #release(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    // A gate that still holds would pause it again at its next step, and no brake would know.
    await this.#gates.lowered();
    const free = ids.filter((id) => !this.#on.on(id).some(holds));
    const done: string[] = [];
    for (const [id, answer] of await this.#on.engine.release(free)) {
      if (answer.kind === "refused") this.#on.refused("release", id, answer.message);
      else done.push(id);
    }
    return done;
  }
}
