import { MissionControlError } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { StoredStep } from "../../store/gate-runs.ts";
import type { Store } from "../../store/store.ts";
import type { EngineWorkflow } from "../engine.ts";
import { gateDefaults } from "./config.ts";
import { type Asked, type GateDoor, type GateEvent, GaveUp, type RunFacts, type StepFacts } from "./events.ts";
import { type Ending, type OpenAsk, Run } from "./run.ts";
import { stepsWith, type Unwritten } from "./unwritten.ts";

/** Times in ms. */
export interface RunLimits {
  /** A workflow that nobody has heard of for so long, and that does not wait at the gate, is shown as silent. */
  readonly silentAfterMs: number;
  /** What has ended, or has been silent, for so long is forgotten. */
  readonly retentionMs: number;
  /** Workflows that are open at a time. */
  readonly openRuns: number;
  /** Workflows that have ended and are kept. */
  readonly endedRuns: number;
  /** Workflows that have ended and cannot be written yet; beyond, the oldest are forgotten. */
  readonly unwrittenEnded: number;
  /** Asks that wait at a time. */
  readonly waiting: number;
}

export const defaultRunLimits: RunLimits = {
  silentAfterMs: gateDefaults.silentAfterMs,
  retentionMs: gateDefaults.retentionMs,
  openRuns: 20_000,
  endedRuns: 100_000,
  unwrittenEnded: 10_000,
  waiting: 10_000,
};

/** What is told is written after this, in ms, together with all that came meanwhile; and again after a failure. */
const writeAfterMs = 100;
const retryMs = 1_000;
/** Between two looks for what has gone silent, or is to be forgotten, at the most, ms. */
const sweepMs = 5_000;

/** Whether a workflow is held, by what its brakes say at the moment of the question. */
export type Holds = (workflow: EngineWorkflow) => boolean;
/** Whether a workflow, by its id, is let go by `release`, as fast as it may be, and not by `reconsider`. */
export type Releases = (id: string) => boolean;

/**
 * The workflows of a gate engine: what its doors tell of them, in memory while they are open, and in the store for good.
 * Nothing that a workflow waits for waits for the disk.
 */
export class GateRuns implements GateDoor {
  readonly #engine: string;
  readonly #store: Store;
  readonly #log: Logger;
  readonly #limits: RunLimits;
  readonly #open = new Map<string, Run>();
  /** The ids of all that is kept. */
  readonly #known: Set<string>;
  /** Those that changed since they were last written; those that have ended are here until they are. */
  #unwritten = new Set<Run>();
  /** Of those that changed and are not written, those that have ended, the oldest first. */
  readonly #endedUnwritten = new Set<Run>();
  #forget = new Set<string>();
  #holds: Holds | undefined;
  #releases: Releases = () => false;
  #waiting = 0;
  #writing: Promise<void> | undefined;
  /** What is being written now: the store may not have it yet. */
  #taken: ReadonlyMap<Run, readonly StoredStep[]> = new Map();
  #soon: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout;
  #fault: Error | undefined;
  /** Workflows that were forgotten since there is a fault. */
  #lost = 0;

  private constructor(engine: string, store: Store, known: readonly string[], limits: RunLimits, log: Logger) {
    this.#engine = engine;
    this.#store = store;
    this.#log = log;
    this.#limits = limits;
    this.#known = new Set(known);
    const every = Math.max(20, Math.min(sweepMs, limits.silentAfterMs / 4));
    this.#sweep = setInterval(() => void this.#lookForSilent(), every).unref();
  }

  /** With what was kept when the server last stopped. */
  static async open(engine: string, store: Store, limits: RunLimits, log: Logger): Promise<GateRuns> {
    const runs = new GateRuns(engine, store, await store.gateRuns.ids(engine), limits, log);
    const stored = await store.gateRuns.open(engine);
    const ids = stored.map(({ id }) => id);
    const steps = Map.groupBy(await store.gateRuns.steps(engine, ids), ({ runId }) => runId);
    for (const one of stored) {
      const run = Run.restore(one, steps.get(one.id) ?? []);
      runs.#open.set(one.id, run);
      if (run.status !== one.status) runs.#changed(run);
    }
    return runs;
  }

  /** From now on what these brakes say decides at each ask; without it, what `hold` and `release` have said. */
  holdBy(holds: Holds, releases: Releases = () => false): void {
    this.#holds = holds;
    this.#releases = releases;
    this.reconsider();
  }

  /** The brakes have changed: whoever waits, is not held any more, and waits for no `release`, goes on. */
  reconsider(): void {
    for (const run of this.#open.values()) {
      if (run.asks.size === 0 && !run.held) continue;
      // This first: it is cheap, and true of nearly all that a brake holds, whenever something of them is written.
      if (!this.#releases(run.id) && !this.#isHeld(run)) this.#letGo(run);
    }
  }

  async report(events: readonly GateEvent[]): Promise<void> {
    for (const event of events) this.#take(event);
    await this.written();
  }

  async ask({ run: facts, step }: Asked, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const run = this.#open.get(facts.id) ?? (await this.#reopened(facts));
    signal.throwIfAborted();
    run.tell(facts);
    run.asksFor(step, Date.now());
    this.#changed(run);
    if (!this.#isHeld(run)) return this.#start(run, step);
    if (this.#waiting >= this.#limits.waiting) {
      const message = `${this.#waiting} steps of ${this.#engine} are held at the gate already, which is the limit`;
      throw new MissionControlError("TOO_MANY_HELD_STEPS", message);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const ask: OpenAsk = { step, letGo: resolve };
    const leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    // A runtime that asks for a step is not in it.
    if (step) run.inFlight.delete(step.id);
    run.asks.add(ask);
    this.#waiting += 1;
    run.touch();
    try {
      await promise;
    } catch (error) {
      run.asks.delete(ask);
      if (run.asks.size === 0 && run.toldEnd) this.#end(run, run.toldEnd);
      else this.gone([run.id], whyGone(error));
      throw error;
    } finally {
      this.#waiting -= 1;
      signal.removeEventListener("abort", leave);
    }
  }

  /** The step begins though a brake holds it: whoever asked for it was told so. */
  goesOn({ run: facts, step }: Asked): void {
    const run = this.#open.get(facts.id);
    if (run === undefined) return;
    run.tell(facts);
    this.#start(run, step);
  }

  isOpen(runId: string): boolean {
    return this.#open.has(runId);
  }

  isHeld(runId: string): boolean {
    const run = this.#open.get(runId);
    return run !== undefined && this.#isHeld(run);
  }

  seen(runIds: readonly string[]): void {
    for (const id of runIds) {
      const run = this.#open.get(id);
      if (run?.alive()) this.#changed(run);
    }
  }

  gone(runIds: readonly string[], why: string): void {
    for (const id of runIds) {
      const run = this.#open.get(id);
      // Another of its steps may wait still, on a connection that stands.
      if (run === undefined || run.asks.size > 0) continue;
      run.lose(why);
      this.#changed(run);
    }
  }

  /** The engine is to hold it: shown as paused as soon as it waits at the gate. False where it is not open. */
  hold(id: string): boolean {
    const run = this.#open.get(id);
    if (run === undefined) return false;
    run.hold(true);
    this.#changed(run);
    return true;
  }

  /** The engine is not to hold it any more. False where it is not open. */
  release(id: string): boolean {
    const run = this.#open.get(id);
    if (run === undefined) return false;
    run.hold(false);
    this.#changed(run);
    if (!this.#isHeld(run)) this.#letGo(run);
    return true;
  }

  /** One that is open. */
  get(id: string): Run | undefined {
    return this.#open.get(id);
  }

  /** All that are open. */
  all(): MapIterator<Run> {
    return this.#open.values();
  }

  /** True where it is kept, open or ended. */
  knows(id: string): boolean {
    return this.#known.has(id);
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Asks that wait now. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Why what was told could not be written the last time it was tried, and what became of it; undefined: it is. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  /** What was told and may not be written, by id: it stands in the place of what the store has. */
  get unwritten(): Map<string, Unwritten> {
    const all = new Map<string, Unwritten>();
    for (const [run, steps] of this.#taken) all.set(run.id, { run: run.stored, steps });
    for (const run of this.#unwritten) {
      all.set(run.id, { run: run.stored, steps: [...(all.get(run.id)?.steps ?? []), ...run.unwritten] });
    }
    return all;
  }

  /** The ids of what is to be forgotten, and may still be in the store. */
  get forgotten(): readonly string[] {
    return [...this.#forget];
  }

  /** Resolves when all that was told so far is durable; rejects where it could not be written. */
  async written(): Promise<void> {
    // One that is under way may have begun before.
    await this.#writing?.catch(() => undefined);
    await this.#write();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep);
    await this.written().catch((error) => this.#log.error({ err: error }, "what a gate engine was told is lost"));
    clearTimeout(this.#soon);
  }

  #take(event: GateEvent): void {
    const time = Math.min(event.time, Date.now());
    const facts = event.kind === "runStarted" ? event.run : { id: event.runId };
    const run = this.#meet(facts, time);
    if (run === undefined) return;
    run.tell(facts);
    switch (event.kind) {
      case "runStarted":
        run.begin(time);
        break;
      case "stepHeld":
        // Told again, it may have begun meanwhile: what stands before a step has not begun it.
        if (!run.hasBegun(event.step.id)) run.waits(event.step);
        break;
      case "stepStarted":
        // Told again, it may have ended meanwhile.
        if (!run.hasBegun(event.step.id)) run.start(event.step, time);
        break;
      case "stepEnded":
        run.finish(event.stepId, event.outcome, event.errorMessage, time);
        break;
      case "runEnded":
        // Whoever waits still, of another attempt or another branch, is neither let go by that nor refused: a brake holds it.
        if (run.asks.size > 0) run.toldEnd = { ...event, time };
        else this.#end(run, { ...event, time });
        break;
    }
    this.#changed(run);
  }

  /** The open workflow, made where nobody has heard of it; undefined where it has ended. */
  #meet({ id }: Pick<RunFacts, "id">, time: number): Run | undefined {
    const run = this.#open.get(id);
    if (run || this.#known.has(id)) return run;
    return this.#admit(new Run(this.#engine, id, time));
  }

  /** The same for one that asks: it goes on though it was told to have ended. */
  async #reopened({ id }: Pick<RunFacts, "id">): Promise<Run> {
    if (this.#known.has(id) && !this.#open.has(id)) {
      await this.written().catch(() => undefined);
      const unwritten = this.unwritten.get(id);
      const stored = unwritten?.run ?? (await this.#store.gateRuns.list(this.#engine, { ids: [id] }, 1))[0];
      const steps = stepsWith(stored ? await this.#store.gateRuns.steps(this.#engine, [id]) : [], unwritten);
      if (stored && !this.#open.has(id)) {
        return this.#admit(Run.restore({ ...stored, status: "running", endTime: undefined }, steps));
      }
    }
    return this.#open.get(id) ?? this.#admit(new Run(this.#engine, id, Date.now()));
  }

  #admit(run: Run): Run {
    if (this.#open.size >= this.#limits.openRuns) {
      throw new MissionControlError(
        "TOO_MANY_WORKFLOWS",
        `${this.#open.size} workflows of ${this.#engine} are open, which is the limit`,
      );
    }
    this.#open.set(run.id, run);
    this.#known.add(run.id);
    this.#forget.delete(run.id);
    return run;
  }

  #isHeld(run: Run): boolean {
    return this.#holds ? this.#holds(run.workflow) : run.held;
  }

  #letGo(run: Run): void {
    run.hold(false);
    for (const { step, letGo } of run.asks) {
      this.#start(run, step);
      letGo();
    }
    run.asks.clear();
    this.#changed(run);
  }

  #start(run: Run, step: StepFacts | undefined): void {
    // What goes on has not ended: that was an earlier attempt.
    run.toldEnd = undefined;
    if (step) run.start(step, Date.now());
    else run.begin(Date.now());
    this.#changed(run);
  }

  #end(run: Run, ending: Ending): void {
    run.end(ending);
    this.#open.delete(run.id);
    this.#changed(run);
    this.#endedUnwritten.add(run);
    if (this.#endedUnwritten.size > this.#limits.unwrittenEnded && this.#fault) this.#loseOldest(this.#fault);
  }

  /** The disk refuses, and memory ends: the oldest that has ended is forgotten, and not for ever shown as it was last written. */
  #loseOldest(fault: Error): void {
    // One that was taken up again since is bounded as an open one.
    const oldest = this.#endedUnwritten.values().find(({ id }) => !this.#open.has(id));
    if (oldest === undefined) return;
    this.#endedUnwritten.delete(oldest);
    this.#unwritten.delete(oldest);
    if (oldest.isStored || this.#taken.has(oldest)) this.#forget.add(oldest.id);
    else this.#known.delete(oldest.id);
    if (this.#lost === 0)
      this.#log.error({ err: fault, engine: this.#engine }, "ended workflows are forgotten unwritten");
    this.#lost += 1;
  }

  async #lookForSilent(): Promise<void> {
    const now = Date.now();
    const { silentAfterMs, retentionMs, endedRuns } = this.#limits;
    for (const run of this.#open.values()) {
      // Who waits here is there: the connection would have ended.
      if (run.asks.size > 0) run.alive();
      else if (now - run.seenTime >= retentionMs) this.#forgetRun(run);
      else if (now - run.seenTime >= silentAfterMs && run.status !== "silent") {
        run.lose(`not heard of since ${new Date(run.seenTime).toISOString()}: nobody knows whether it runs`);
        this.#changed(run);
      }
    }
    try {
      for (const id of await this.#store.gateRuns.old(this.#engine, now - retentionMs, endedRuns)) {
        if (!this.#open.has(id)) this.#forget.add(id);
      }
    } catch {
      // The disk is told of in health; what is old is found the next time.
    }
    if (this.#forget.size > 0) this.#writeSoon(writeAfterMs);
  }

  #forgetRun(run: Run): void {
    this.#open.delete(run.id);
    this.#unwritten.delete(run);
    this.#forget.add(run.id);
  }

  #changed(run: Run): void {
    this.#unwritten.add(run);
    this.#writeSoon(writeAfterMs);
  }

  #writeSoon(ms: number): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.written().catch(() => undefined);
    }, ms).unref();
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeNow().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #writeNow(): Promise<void> {
    const runs = [...this.#unwritten];
    const forgotten = [...this.#forget];
    if (runs.length === 0 && forgotten.length === 0) return;
    this.#unwritten = new Set();
    this.#forget = new Set();
    const taken = new Map(runs.map((run): [Run, StoredStep[]] => [run, run.takeUnwritten()]));
    this.#taken = taken;
    const change = {
      runs: runs.map((run) => run.stored),
      steps: [...taken.values()].flat(),
      forget: forgotten.map((id) => ({ engine: this.#engine, id })),
    };
    try {
      await this.#store.commit({ entries: [], gateRuns: change });
      for (const id of forgotten) if (!this.#open.has(id)) this.#known.delete(id);
      for (const run of runs) {
        run.isStored = true;
        if (!this.#unwritten.has(run)) this.#endedUnwritten.delete(run);
      }
      this.#fault = undefined;
      this.#lost = 0;
    } catch (error) {
      for (const [run, steps] of taken) run.giveBack(steps);
      // In their order: one that has ended may have been taken up again since.
      const back = runs.filter((run) => this.#endedUnwritten.has(run) || this.#open.get(run.id) === run);
      this.#unwritten = new Set([...back.filter((run) => !this.#unwritten.has(run)), ...this.#unwritten]);
      for (const id of forgotten) this.#forget.add(id);
      const { message } = error as Error;
      if (!this.#fault)
        this.#log.error({ err: error, engine: this.#engine }, "a gate engine's reports cannot be written");
      const lost = this.#lost === 0 ? "" : `; ${this.#lost} workflows that ended meanwhile are forgotten`;
      this.#fault = new Error(message + lost, { cause: error });
      this.#writeSoon(retryMs);
      throw error;
    } finally {
      this.#taken = new Map();
    }
  }
}

/** Why an ask has ended that was not let go, in words that are shown. */
function whyGone(error: unknown): string {
  if (error instanceof GaveUp) return error.message;
  if (error instanceof MissionControlError) return `its request was refused while it waited: ${error.message}`;
  return "whoever asked has left: its runtime gave up waiting, or is not there any more";
}
