import { EventEmitter } from "node:events";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { EntryInit, Ledger } from "../ledger/ledger.ts";
import { hideTokens } from "../proof/secrets.ts";
import type { Brake, Held, Hold } from "../store/brake.ts";
import type { Answer, Store } from "../store/store.ts";

/** An idempotent request that takes effect: kept with its effect, so that a repetition after a crash finds it. */
export type Claim = Pick<Answer, "key" | "requestDigest">;

/** What changed. */
export interface BrakesChange {
  readonly brakeIds: ReadonlySet<string>;
  /** Those whose holds did or whose brake did. */
  readonly workflowIds: ReadonlySet<string>;
  /** Holds that have come to a stand. */
  readonly stood: readonly Hold[];
  /** True where a brake changed or something was caught, not only what is known of holds: there may be something to do. */
  readonly isOrder: boolean;
}

const none: readonly Held[] = [];

/**
 * The brakes that are engaged or not settled yet, with their holds. All that changes goes through `update`, which commits the
 * change with its ledger entry before anybody can see it. What is engaged is desired state: the reconcilers make it true.
 *
 * Who writes what: commands write brakes and the hold of the one workflow that they name; an engine's reconciler alone writes
 * the holds on its workflows after that. So neither overtakes the other.
 */
export class Brakes {
  readonly #store: Store;
  readonly #ledger: Ledger;
  readonly #brakes = new Map<string, Brake>();
  /** brakeId → workflowId → hold; settled ones too, as long as the brake is here. */
  readonly #holds = new Map<string, Map<string, Hold>>();
  /** workflowId → holds that are not settled: asked for thousands in every round. */
  readonly #held = new Map<string, readonly Held[]>();
  readonly #locks = new Map<string, Promise<unknown>>();
  readonly #changes = new EventEmitter().setMaxListeners(0);

  private constructor(store: Store, ledger: Ledger) {
    this.#store = store;
    this.#ledger = ledger;
  }

  /** Loads what was there when the server last stopped. */
  static async open(store: Store, ledger: Ledger): Promise<Brakes> {
    const brakes = new Brakes(store, ledger);
    for (const brake of await store.activeBrakes()) await brakes.#load(brake);
    return brakes;
  }

  /** One that is engaged, waits for approval, or is not settled yet. */
  active(brakeId: string): Brake | undefined {
    return this.#brakes.get(brakeId);
  }

  /** All of these, the oldest first. */
  all(): MapIterator<Brake> {
    return this.#brakes.values();
  }

  /** A brake with all its holds, also one that is over. */
  async find(brakeId: string): Promise<{ brake: Brake; holds: readonly Hold[] } | undefined> {
    const brake = this.#brakes.get(brakeId);
    if (brake) return { brake, holds: this.holdsOf(brakeId) };
    const over = await this.#store.brake(brakeId);
    return over && { brake: over, holds: await this.#store.holdsOf(brakeId) };
  }

  /** All holds of an active brake, settled ones too, in the order in which they were caught. */
  holdsOf(brakeId: string): Hold[] {
    return [...(this.#holds.get(brakeId)?.values() ?? [])];
  }

  /** How many holds an active brake has, settled ones too. */
  holdCount(brakeId: string): number {
    return this.#holds.get(brakeId)?.size ?? 0;
  }

  /** The hold of a brake on a workflow. */
  hold(brakeId: string, workflowId: string): Hold | undefined {
    return this.#holds.get(brakeId)?.get(workflowId);
  }

  /** Holds on a workflow that are not settled, the oldest brake first. */
  on(workflowId: string): readonly Held[] {
    return this.#held.get(workflowId) ?? none;
  }

  /** Workflows with holds that are not settled. */
  workflowIds(): MapIterator<string> {
    return this.#held.keys();
  }

  /** How many there are. */
  get count(): number {
    return this.#brakes.size;
  }

  /** How many brakes are engaged. */
  get engagedCount(): number {
    return this.all().reduce((count, brake) => count + (brake.state === "ENGAGED" ? 1 : 0), 0);
  }

  /** Commits brakes and holds with one SYSTEM entry, then lets everybody see them. Nothing to change: nothing is written. */
  async update(
    action: string,
    change: {
      readonly brakes?: readonly Brake[];
      readonly holds?: readonly Hold[];
      readonly claim?: Claim | undefined;
    },
    about: Pick<EntryInit, "message" | "intentEntryId" | "reason" | "emergency">,
  ): Promise<void> {
    const { holds = [], claim } = change;
    const brakes = (change.brakes ?? []).map(withoutTokens);
    const brakeId = brakes[0]?.brakeId ?? holds[0]?.brakeId;
    if (brakeId === undefined) return;
    const only = holds.every(({ workflowId }) => workflowId === holds[0]?.workflowId)
      ? holds[0]?.workflowId
      : undefined;
    const target = only ?? brakes[0]?.workflowId ?? "";
    const engine = parseWorkflowId(target)?.engine ?? "";
    await this.#ledger.append(
      { phase: Phase.SYSTEM, action, target, engine, brakeId, ...about },
      {
        brakes,
        holds,
        answers: claim && [{ ...claim, response: new Uint8Array(), brakeId, time: Date.now() }],
      },
    );
    const holding = new Set(holds.map((hold) => hold.brakeId));
    for (const brake of brakes) holding.delete(brake.brakeId);
    // One that was over by the time that this was written comes back, until what was caught for it is let go.
    const over = [...holding].filter((id) => !this.#brakes.has(id));
    for (const id of over) {
      const brake = await this.#store.brake(id);
      if (brake) await this.#load(brake);
    }
    const workflowIds = new Set<string>();
    for (const brake of brakes) {
      this.#brakes.set(brake.brakeId, brake);
      for (const hold of this.#holds.get(brake.brakeId)?.values() ?? []) {
        workflowIds.add(hold.workflowId);
        this.#hold(brake, hold);
      }
    }
    const stood: Hold[] = [];
    let isOrder = brakes.length > 0 || over.length > 0;
    for (const hold of holds) {
      const { standstillTime } = hold.halt;
      const before = this.hold(hold.brakeId, hold.workflowId);
      isOrder ||= before === undefined;
      if (standstillTime !== undefined && standstillTime !== before?.halt.standstillTime) stood.push(hold);
      workflowIds.add(hold.workflowId);
      this.#remember(hold);
    }
    const brakeIds = new Set<string>();
    for (const brake of brakes) brakeIds.add(brake.brakeId);
    for (const hold of holds) brakeIds.add(hold.brakeId);
    for (const id of brakeIds) this.#forgetIfOver(id);
    this.#changes.emit("change", { brakeIds, workflowIds, stood, isOrder } satisfies BrakesChange);
  }

  /** What is told of the brake has changed, though nothing of it that is kept. */
  touched(brakeId: string): void {
    this.#changes.emit("change", {
      brakeIds: new Set([brakeId]),
      workflowIds: new Set(),
      stood: [],
      isOrder: false,
    } satisfies BrakesChange);
  }

  /** Writes a SYSTEM entry about a workflow that no brake holds. Rejects where it cannot be written. */
  async record(action: string, workflowId: string, message: string): Promise<void> {
    const engine = parseWorkflowId(workflowId)?.engine ?? "";
    await this.#ledger.append({ phase: Phase.SYSTEM, action, target: workflowId, engine, message });
  }

  /** Runs alone for the key: two commands about the same workflow or brake never overtake each other. */
  async exclusively<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#locks.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    const tail = mine.catch(() => undefined);
    this.#locks.set(key, tail);
    try {
      return await mine;
    } finally {
      if (this.#locks.get(key) === tail) this.#locks.delete(key);
    }
  }

  /** Calls back after every change; returns how to stop that. */
  onChange(listener: (change: BrakesChange) => void): () => void {
    this.#changes.on("change", listener);
    return () => this.#changes.off("change", listener);
  }

  /** With all its holds, unless it is here already. */
  async #load(brake: Brake): Promise<void> {
    const holds = await this.#store.holdsOf(brake.brakeId);
    if (this.#brakes.has(brake.brakeId)) return;
    this.#brakes.set(brake.brakeId, brake);
    for (const hold of holds) this.#remember(hold);
  }

  #remember(hold: Hold): void {
    const holds = this.#holds.get(hold.brakeId) ?? new Map<string, Hold>();
    this.#holds.set(hold.brakeId, holds.set(hold.workflowId, hold));
    const brake = this.#brakes.get(hold.brakeId);
    if (brake) this.#hold(brake, hold);
  }

  /** Notes what is on the workflow: as long as the hold is not settled. */
  #hold(brake: Brake, hold: Hold): void {
    const { workflowId } = hold;
    const before = this.on(workflowId);
    const at = before.findIndex((held) => held.hold.brakeId === hold.brakeId);
    if (!hold.halt.settled) {
      const held = { brake, hold };
      // Nearly always it is the only one.
      if (before.length === 0 || (before.length === 1 && at === 0)) this.#held.set(workflowId, [held]);
      else this.#held.set(workflowId, at < 0 ? [...before, held] : before.with(at, held));
    } else if (at >= 0 && before.length > 1) this.#held.set(workflowId, before.toSpliced(at, 1));
    else if (at >= 0) this.#held.delete(workflowId);
  }

  /** One that is released and has nothing left to do lives on in the store only. */
  #forgetIfOver(brakeId: string): void {
    const brake = this.#brakes.get(brakeId);
    if (!brake || brake.state === "ENGAGED" || brake.state === "AWAITING_APPROVAL") return;
    const holds = this.#holds.get(brakeId);
    for (const hold of holds?.values() ?? []) if (!hold.halt.settled) return;
    this.#brakes.delete(brakeId);
    this.#holds.delete(brakeId);
  }
}

/** What people wrote about it is kept and shown without the tokens that they pasted. */
function withoutTokens(brake: Brake): Brake {
  const { reason, ticket, release } = brake;
  return {
    ...brake,
    reason: hideTokens(reason),
    ticket: hideTokens(ticket),
    release: release && { ...release, reason: hideTokens(release.reason) },
  };
}
