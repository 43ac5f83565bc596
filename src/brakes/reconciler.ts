import { setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineStatus } from "../engines/engine.ts";
import { isOutage } from "../engines/outage.ts";
import type { Logger } from "../log.ts";
import type { Brakes } from "./brakes.ts";
import type { Catching } from "./catch.ts";
import { holds } from "./halt.ts";
import type { Outages } from "./outages.ts";
import { Endings } from "./reconciler/endings.ts";
import { EngineBrakes } from "./reconciler/engine-brakes.ts";
import { Halting } from "./reconciler/halting.ts";
import { type GatesOfEngine, LettingGo } from "./reconciler/letting-go.ts";

/** Times in ms. */
const pace = {
  /** Between two rounds while there is anything to hold or to let go: new ones may start at any moment. */
  round: 50,
  /** Between two looks at everything that stands, for what has ended meanwhile. */
  sweep: 5_000,
  /** Between two rounds where nothing is held and no gate is known: a change of a brake cuts it short. */
  idle: 60_000,
  /** The longest that a round over very many leaves to the engine. */
  maxBreather: 400,
  /** While more than this are on their way to a stand, it is looked when about half of them should have come there. */
  many: 100,
  /** The longest pause after failures in a row. */
  maxBackOff: 5_000,
} as const;

/** What a look saw: how many came to a stand, how many of those that are to come there are left, and since when it was looked, ms. */
interface Look {
  readonly stood: number;
  readonly left: number;
  readonly lookedMs: number;
}

const nothing: Look = { stood: 0, left: 0, lookedMs: 0 };

/** How an engine's reconciler is doing. */
export interface ReconcilerState {
  readonly engine: string;
  /** How long the last full round took, in ms. */
  readonly roundMs: number;
  /** When it ended. */
  readonly roundTime: Date | undefined;
  /** For how long a full round has been due, in ms; 0 while there is nothing to hold or to let go. */
  readonly lagMs: number;
  /** Undefined while rounds succeed and what they see can be written. */
  readonly fault: { readonly since: Date; readonly message: string } | undefined;
}

/**
 * Makes the brakes true on one engine, level-triggered: every round compares what should be held with what the engine shows
 * and closes the difference, whatever made it: a run that starts or comes up from a queue, a sleeper that wakes, a resume in
 * the engine's own tool, an engine that restarted and forgot. It alone writes the holds on its engine's workflows.
 */
export class Reconciler {
  readonly #on: EngineBrakes;
  readonly #catching: Catching;
  readonly #halting: Halting;
  readonly #lettingGo: LettingGo;
  readonly #endings: Endings;
  readonly #outages: Outages;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  #roundMs = 0;
  #roundTime: Date | undefined;
  #dueTime: number | undefined;
  #sweepTime = 0;
  /** True where something was noted of holds since the round began. */
  #noted = false;
  /** True where the last look left some that are to come to a stand. */
  #areComing = false;
  /** Since when it is looked for what comes to a stand, on the monotonic clock, ms: the last look, or the beginning of the round. */
  #lookTime = 0;
  #fault: ReconcilerState["fault"];

  /** @param releaseRate the most workflows that are let go in one second. */
  constructor(
    engine: Engine,
    brakes: Brakes,
    catching: Catching,
    gates: GatesOfEngine,
    outages: Outages,
    releaseRate: number,
    log: Logger,
  ) {
    this.#outages = outages;
    this.#on = new EngineBrakes(engine, brakes, log, this.#stop.signal);
    this.#catching = catching;
    this.#halting = new Halting(this.#on, catching);
    this.#lettingGo = new LettingGo(this.#on, gates, releaseRate);
    this.#endings = new Endings(this.#on);
    this.#log = log;
  }

  get state(): ReconcilerState {
    const fault = this.#fault ?? this.#on.unwritten;
    const lagMs = this.#dueTime === undefined ? 0 : Date.now() - this.#dueTime;
    return { engine: this.#on.engine.name, roundMs: this.#roundMs, roundTime: this.#roundTime, lagMs, fault };
  }

  start(): void {
    const unfollow = this.#on.follow();
    const off = this.#on.brakes.onChange(({ isOrder }) => {
      if (isOrder) this.wake();
      else this.#noted = true;
    });
    this.#running = this.#loop().finally(() => {
      off();
      unfollow();
    });
  }

  /** Begins the next round now. */
  wake(): void {
    this.#dueTime ??= Date.now();
    this.#wake.abort();
  }

  /** Ends with the round under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.wake();
    await this.#running;
  }

  async #loop(): Promise<void> {
    let failures = 0;
    this.#dueTime = Date.now();
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      let pauseMs: number = this.#lettingGo.hasGates ? pace.sweep : pace.idle;
      const began = performance.now();
      try {
        this.#noted = false;
        if (!this.#areComing) this.#lookTime = began;
        const after = await this.#round();
        this.#areComing = after !== undefined && after.left > 0;
        this.#roundMs = Math.round(performance.now() - began);
        this.#roundTime = new Date();
        this.#dueTime = after === undefined ? undefined : Date.now();
        this.#fault = undefined;
        this.#outages.ended(this.#on.engine.name);
        failures = 0;
        if (after !== undefined) pauseMs = this.#pauseAfter(after);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        if (!this.#fault) this.#log.error({ err: error, engine: this.#on.engine.name }, "reconciler: round failed");
        this.#fault = { since: this.#fault?.since ?? new Date(), message };
        if (isOutage(error)) this.#outages.began(this.#on.engine.name, message);
        this.#endings.forget();
        pauseMs = Math.min(pace.round * 2 ** failures++, pace.maxBackOff);
      }
      if (this.#stop.signal.aborted) return;
      // A change of a brake cuts the pause short. With nothing to do there is still a look now and then, for what gates hold.
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** How long the engine is left alone after a round in which there was something to do, ms. */
  #pauseAfter({ stood, left, lookedMs }: Look): number {
    // A round over very many leaves the engine as much time as it took, within bounds.
    const breather = Math.min(Math.max(pace.round, this.#roundMs), pace.maxBreather);
    if (left <= pace.many) return this.#noted ? 0 : breather;
    if (stood === 0) return breather;
    const halfway = (lookedMs / stood) * left * 0.5;
    return Math.min(Math.max(2 * pace.round, halfway), pace.maxBreather);
  }

  /** One round over everything, with its look; undefined where there is nothing to hold and nothing to let go. */
  async #round(): Promise<Look | undefined> {
    const standing = this.#catching.standing();
    const held = await this.#lettingGo.heldByNobody();
    await this.#halting.catchHeld(standing, held);
    await this.#lettingGo.lift(held);
    const { mine } = this.#on;
    if (standing.length === 0 && mine.size === 0 && !this.#halting.isWaiting) {
      this.#halting.rest();
      return this.#lettingGo.isWaiting ? nothing : undefined;
    }
    const pending = await this.#halting.round(standing, mine);
    const look = await this.#look(pending);
    await this.#halting.noteAccepted();
    // Journals can wait: they are read when nothing more comes to a stand.
    if (look.stood === 0) await this.#halting.fillReceipts(this.#on.mine);
    return look;
  }

  /** Looks closer at what does not stand or move as it should, and now and then at everything. */
  async #look(pending: ReadonlySet<string>): Promise<Look> {
    const now = performance.now();
    const lookedMs = now - this.#lookTime;
    this.#lookTime = now;
    const sweep = Date.now() - this.#sweepTime >= pace.sweep;
    if (sweep) this.#sweepTime = Date.now();
    const ids: string[] = [];
    let halting = 0;
    for (const [id, all] of this.#on.mine) {
      const held = all.every(holds);
      const comes = !pending.has(id) && all.some(({ hold }) => hold.halt.standstillTime === undefined);
      if (held && comes) halting++;
      if (sweep || !held || comes) ids.push(id);
    }
    if (ids.length === 0) return nothing;
    const shown = await this.#on.engine.statuses(ids, this.#on.signal);
    await this.#endings.round(ids.filter((id) => !shown.has(id)));
    const stood = await this.#halting.stand(ids.filter((id) => shown.get(id) === "paused" && this.#on.isHeld(id)));
    const free = new Map<string, EngineStatus>();
    for (const [id, status] of shown) if (this.#on.on(id).some((one) => !holds(one))) free.set(id, status);
    await this.#lettingGo.round(free);
    return { stood, left: Math.max(0, halting - stood), lookedMs };
  }
}
