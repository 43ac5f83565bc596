import type { EngineWorkflow, WorkflowQuery } from "../../engines/engine.ts";
import type { Brake, Halt, Held, Hold } from "../../store/brake.ts";
import { type Catching, catchAll } from "../catch.ts";
import { drifted, haltedSteps, holds, standstill } from "../halt.ts";
import { chunks } from "../open-by-ids.ts";
import { until } from "../wait.ts";
import { countOf, type EngineBrakes } from "./engine-brakes.ts";

/**
 * Ask an engine again to hold what it accepted to hold, ms: it may have restarted and forgotten. Where the asking itself took
 * long, after a multiple of that: an engine that is asked for thousands all the time gets to nothing else.
 */
const askAgain = { leastMs: 150, factor: 3, mostMs: 5_000 } as const;
/** While more than this come to a stand, it is looked for others that move only so often, ms: each look takes from the engine. */
const busy = { halting: 1_000, lookMs: 1_000 } as const;
/** So few that come to a stand are told of with their journals at once, and are noted as accepted at once. */
const few = 100;
/** That very many were accepted is noted with their standstill; of those that take longer than this, ms, before it. */
const acceptedMs = 2_000;
/** Journals that are read for receipts in one round: what is to be held or let go meanwhile waits for it. */
const receiptsPerRound = 100;
/** Of very many they are read when nothing has come to a stand for so long, ms: whoever braked may let go again at once. */
const receiptsAfterMs = 1_000;
/** Between two looks at whether a command has written what it caught, ms. */
const writingMs = 25;

/** Brings to a stand what brakes hold on one engine, and sees it stand. */
export class Halting {
  readonly #on: EngineBrakes;
  readonly #catching: Catching;
  /** When each was last asked for. */
  readonly #asked = new Map<string, number>();
  /** Since when each is shown as paused that has not been seen to stand. */
  readonly #paused = new Map<string, number>();
  /** How long the last asking took, ms. */
  #askMs = 0;
  /** When the engine accepted, in ms since the epoch, of those whose hold does not say so yet. */
  readonly #accepted = new Map<string, number>();
  /** How many of each brake's holds, in the order in which they were caught, were asked for at once. */
  readonly #begun = new Map<string, number>();
  /** When it was last looked for what moves, ms of the monotonic clock, and what of it had not begun. */
  #lookTime = Number.NEGATIVE_INFINITY;
  #pending: ReadonlySet<string> = new Set();
  /** When very many were last seen to stand, ms of the monotonic clock. */
  #stoodTime = Number.NEGATIVE_INFINITY;
  /** Caught, but not written yet: the disk refused. Held all the same. */
  #unwritten: readonly Hold[] = [];

  constructor(on: EngineBrakes, catching: Catching) {
    this.#on = on;
    this.#catching = catching;
  }

  /**
   * Looks for what moves though a brake is about it, catches it, and asks the engine to hold it. Resolves to those that have
   * not begun: there is nothing more to see of them.
   */
  async round(standing: readonly Brake[], mine: ReadonlyMap<string, readonly Held[]>): Promise<ReadonlySet<string>> {
    await this.#begin();
    await this.#revive();
    if (performance.now() - this.#lookTime < busy.lookMs && this.#areMany(mine)) return this.#pending;
    this.#lookTime = performance.now();
    const moving = await this.#moving(standing, mine);
    const unwritten = await this.#catch(standing, moving);
    // What has not begun cannot be held: it is asked for in the round in which it is seen to have begun.
    const toHold = moving.filter(
      ({ id, status }) => status !== "pending" && (unwritten.has(id) || this.#on.isHeld(id)),
    );
    const moved = this.#moved(toHold);
    await this.#hold(toHold.map(({ id }) => id));
    // Holding comes first, what is to be told of it second: a disk that refuses must not let anything go.
    await this.#on.note(
      "brake.drift",
      moved.holds,
      `${countOf(moved.holds)} let go elsewhere (seen ${moved.phases}), halted again`,
    );
    this.#pending = new Set(moving.filter(({ status }) => status === "pending").map(({ id }) => id));
    return this.#pending;
  }

  /** What a command has caught is asked for at once: looking for more comes second. */
  async #begin(): Promise<void> {
    const { brakes, signal } = this.#on;
    for (const brakeId of this.#begun.keys()) if (!brakes.active(brakeId)) this.#begun.delete(brakeId);
    for (;;) {
      const { ids, counts } = this.#fresh();
      // What stands for another brake stands already.
      const stands = (id: string) => this.#on.on(id).some((held) => holds(held) && held.hold.halt.standstillTime);
      await this.#hold([...ids].filter((id) => !stands(id)));
      for (const [brakeId, count] of counts) {
        this.#begun.set(brakeId, count);
      }
      // What was looked at a moment ago does not know of these. Single ones, over and over, put no look off.
      if (ids.size > few) this.#lookTime = performance.now();
      // A command writes what it catches page by page: the next one is asked for as soon as it is there.
      if (counts.size === 0 && !this.#catching.isWriting(this.#on.engine.name)) return;
      if (counts.size === 0) await until(brakes, () => this.#fresh().counts.size > 0, writingMs, signal);
    }
  }

  /** What was caught and not asked for yet, and how many holds of each brake these are the last of. */
  #fresh(): { ids: Set<string>; counts: Map<string, number> } {
    const { brakes } = this.#on;
    const ids = new Set<string>();
    const counts = new Map<string, number>();
    for (const brake of brakes.all()) {
      const { brakeId, state } = brake;
      const [count, begun] = [brakes.holdCount(brakeId), this.#begun.get(brakeId) ?? 0];
      if (state !== "ENGAGED" || count <= begun) continue;
      counts.set(brakeId, count);
      for (const hold of brakes.holdsOf(brakeId).slice(begun)) {
        const moves = hold.halt.standstillTime === undefined && !hold.halt.foundPaused && holds({ brake, hold });
        if (moves && this.#on.isMine(hold)) ids.add(this.#on.idOf(hold.workflowId));
      }
    }
    return { ids, counts };
  }

  /** True where very many are on their way to a stand: what has not begun is not. */
  #areMany(mine: ReadonlyMap<string, readonly Held[]>): boolean {
    let halting = 0;
    for (const [id, held] of mine) {
      if (!this.#pending.has(id) && held.some((one) => holds(one) && one.hold.halt.standstillTime === undefined))
        halting++;
      if (halting > busy.halting) return true;
    }
    return false;
  }

  /** What a staged release had let go before it braked again is held anew, whatever had caught it. */
  async #revive(): Promise<void> {
    const now = Date.now();
    for (const brake of this.#on.brakes.all()) {
      if (brake.state !== "ENGAGED" || !brake.release?.haltedBecause) continue;
      const again = this.#on.brakes
        .holdsOf(brake.brakeId)
        .filter((hold) => hold.halt.settled && holds({ brake, hold }) && this.#on.isMine(hold))
        .map((hold) => ({ ...hold, halt: drifted(hold.halt, now) }));
      await this.#on.note("brake.held-again", again, `${countOf(again)} that had been let go`);
    }
  }

  /** Catches what gates have paused, of these; what no brake matches is left. */
  async catchHeld(standing: readonly Brake[], held: readonly EngineWorkflow[]): Promise<void> {
    const { engine, brakes } = this.#on;
    const byGate = new Set(held.map(({ id }) => id));
    for (const known of standing) {
      const brake = this.#catching.still(known);
      if (brake === undefined) continue;
      const found = catchAll(brakes, this.#catching.selector(brake), brake, engine.name, held, "later", byGate);
      await this.#on.note("brake.caught", found, `${countOf(found)} on ${engine.name} caught by their gates`);
    }
  }

  /** Notes those that are shown as paused, for as long as it takes to stand, and were not seen to stand before; how many. */
  async stand(shown: readonly string[]): Promise<number> {
    const now = Date.now();
    const { settleMs } = this.#on.engine.capabilities;
    const stood: Hold[] = [];
    const paused = new Set(shown);
    for (const id of this.#paused.keys()) if (!paused.has(id)) this.#paused.delete(id);
    for (const id of shown) {
      this.#asked.delete(id);
      const unseen = this.#on.on(id).filter((held) => holds(held) && held.hold.halt.standstillTime === undefined);
      if (unseen.length === 0) continue;
      const since = this.#paused.get(id) ?? now;
      this.#paused.set(id, since);
      if (now - since < settleMs) continue;
      this.#paused.delete(id);
      for (const { hold } of unseen) {
        stood.push({ ...hold, halt: standstill(this.#withAcceptance(id, hold.halt), now) });
      }
    }
    if (stood.length > few) this.#stoodTime = performance.now();
    // A standstill of a few is told with what their journals say; of many, the journals are read afterwards.
    const told = stood.length > 0 && stood.length <= few ? await this.#withSteps(stood) : stood;
    const cutOff = told.filter(
      ({ halt: { steps } }) => steps?.hidesStep || steps?.inFlight.some((step) => step.outcome === "reruns"),
    ).length;
    const how = cutOff > 0 ? `, ${cutOff} with a step that was cut off or between two attempts and runs again` : "";
    await this.#on.note("brake.standstill", told, `${countOf(told)} seen paused${how}`);
    return stood.length;
  }

  /** Notes what the engine accepted. After `stand`, which has noted it of what stands already: that spares the disk a write. */
  async noteAccepted(): Promise<void> {
    const now = Date.now();
    const accepted: Hold[] = [];
    const many = this.#accepted.size > few;
    for (const [id, time] of this.#accepted) {
      if (many && now - time < acceptedMs) continue;
      this.#accepted.delete(id);
      for (const held of this.#on.on(id)) {
        const { hold } = held;
        if (holds(held) && isAccepted(hold.halt, time))
          accepted.push({ ...hold, halt: { ...hold.halt, acceptTime: time } });
      }
    }
    await this.#on.note("brake.accepted", accepted, `the engine accepted to halt ${countOf(accepted)}`);
  }

  /** Reads the journals of what stands and has no receipt yet; not while very many come to a stand. */
  async fillReceipts(mine: ReadonlyMap<string, readonly Held[]>): Promise<void> {
    if (this.#areMany(mine) || performance.now() - this.#stoodTime < receiptsAfterMs) return;
    const open: Hold[] = [];
    for (const held of mine.values()) {
      for (const one of held) {
        // What was let go has begun steps that are none of the halt's.
        const stands = holds(one) && one.hold.halt.standstillTime !== undefined;
        if (stands && one.hold.halt.steps === undefined) open.push(one.hold);
      }
      if (open.length >= receiptsPerRound) break;
    }
    if (open.length === 0) return;
    const filled = (await this.#withSteps(open)).filter((hold) => hold.halt.steps !== undefined);
    await this.#on.note("brake.receipt", filled, `the journals of ${countOf(filled)} that stand were read`);
  }

  /** True while something was caught that could not be written. */
  get isWaiting(): boolean {
    return this.#unwritten.length > 0;
  }

  /** Nothing is held any more. */
  rest(): void {
    this.#asked.clear();
    this.#paused.clear();
    this.#accepted.clear();
  }

  /** Open workflows that do not stand and that a brake is about. */
  async #moving(standing: readonly Brake[], mine: ReadonlyMap<string, readonly Held[]>): Promise<EngineWorkflow[]> {
    const { engine, signal } = this.#on;
    const queries: WorkflowQuery[] = [];
    for (const brake of standing) {
      const query = this.#catching.selector(brake).listQuery(engine.name);
      if (query) queries.push({ ...query, statuses: undefined });
    }
    // Brakes on one workflow, and those that are being let go in stages: by name.
    const named = [...mine]
      .filter(([, held]) => held.some((one) => holds(one) && !this.#catching.catches(one.brake)))
      .map(([id]) => id);
    const children = standing.some((brake) => brake.includeDescendants);
    const [first = [], ...rest] = chunks(named);
    if (first.length > 0) queries.push({ ids: first });
    const found =
      queries.length > 0 || children ? [await engine.open({ anyOf: queries, children, paused: false }, signal)] : [];
    for (const ids of rest) found.push(await engine.open({ anyOf: [{ ids }], children: false, paused: false }, signal));
    return found.flat();
  }

  /**
   * Catches what the standing brakes match, before anything is asked of the engine; the ids of what was caught, could not be
   * written, and is to be held all the same.
   */
  async #catch(standing: readonly Brake[], moving: readonly EngineWorkflow[]): Promise<Set<string>> {
    const { engine, brakes, signal } = this.#on;
    const waiting = this.#unwritten.filter((hold) => brakes.hold(hold.brakeId, hold.workflowId) === undefined);
    const unwritten: Hold[] = [];
    const write = async (found: readonly Hold[]) => {
      const written = await this.#on.note("brake.caught", found, `${countOf(found)} on ${engine.name} caught`);
      if (!written) unwritten.push(...found);
    };
    await write(waiting);
    for (const known of standing) {
      const selector = this.#catching.selector(known);
      const query = selector.listQuery(engine.name);
      // The first look is at everything: also at what is paused already, so that it stays so when others let go.
      const all = { anyOf: [{ ...query, statuses: undefined }], children: known.includeDescendants, paused: true };
      const first = query !== undefined && this.#catching.isFirstLook(known, engine.name);
      const rows = first ? await engine.open(all, signal) : moving;
      const paused = first ? rows.filter((row) => row.status === "paused").map((row) => row.id) : [];
      const byGate = paused.length > 0 ? await engine.pausedByGate(paused, signal) : new Set<string>();
      const brake = this.#catching.still(known);
      if (brake === undefined) continue;
      const found = catchAll(brakes, selector, brake, engine.name, rows, first ? "first" : "later", byGate);
      await write(
        found.filter(
          (hold) => !unwritten.some((one) => one.workflowId === hold.workflowId && one.brakeId === hold.brakeId),
        ),
      );
      this.#catching.looked(brake, engine.name);
      if (first) brakes.touched(brake.brakeId);
    }
    this.#unwritten = unwritten;
    const isHeld = ({ brakeId }: Hold) => brakes.active(brakeId)?.state === "ENGAGED";
    return new Set(unwritten.filter(isHeld).map(({ workflowId }) => this.#on.idOf(workflowId)));
  }

  /** Those that stood and do not any more, as they are seen now: a moment later they may stand again. */
  #moved(toHold: readonly EngineWorkflow[]): { holds: Hold[]; phases: string } {
    const now = Date.now();
    const phases = new Set<string>();
    const moved: Hold[] = [];
    for (const { id, phase } of toHold) {
      for (const held of this.#on.on(id)) {
        if (!holds(held) || held.hold.halt.standstillTime === undefined) continue;
        moved.push({ ...held.hold, halt: drifted(held.hold.halt, now) });
        phases.add(phase);
      }
    }
    return { holds: moved, phases: [...phases].join(", ") };
  }

  /** Asks for them. */
  async #hold(ids: readonly string[]): Promise<void> {
    const now = Date.now();
    const again = Math.min(askAgain.mostMs, Math.max(askAgain.leastMs, askAgain.factor * this.#askMs));
    const due = ids.filter((id) => now - (this.#asked.get(id) ?? 0) >= again);
    if (due.length === 0) return;
    for (const id of due) this.#asked.set(id, now);
    for (const [id, answer] of await this.#on.engine.hold(due)) {
      if (answer.kind === "accepted") this.#accepted.set(id, answer.time);
      // What was not accepted is asked for again in the next round.
      else this.#asked.delete(id);
      if (answer.kind === "refused") this.#on.refused("hold", id, answer.message);
    }
    this.#askMs = Date.now() - now;
  }

  /** With when the engine accepted it, where that is news. */
  #withAcceptance(id: string, halt: Halt): Halt {
    const acceptTime = this.#accepted.get(id);
    return isAccepted(halt, acceptTime) ? { ...halt, acceptTime } : halt;
  }

  /** The holds with what became of the steps, where the journal could be read. */
  async #withSteps(stood: readonly Hold[]): Promise<Hold[]> {
    const ids = stood.map(({ workflowId }) => this.#on.idOf(workflowId));
    const seen = await this.#on.engine.observe(ids, this.#on.signal, true);
    return stood.map((hold) => {
      const observation = seen.get(this.#on.idOf(hold.workflowId));
      return observation ? { ...hold, halt: { ...hold.halt, steps: haltedSteps(hold.halt, observation) } } : hold;
    });
  }
}

/** True where it is news that the engine accepted to halt it at that time. */
function isAccepted(halt: Halt, acceptTime: number | undefined): boolean {
  return halt.acceptTime === undefined && acceptTime !== undefined && acceptTime >= halt.requestTime;
}
