import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Observation } from "../engines/engine.ts";
import { endedStatuses } from "../engines/engine.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { workflowNotFound } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Brake } from "../store/brake.ts";
import type { Store } from "../store/store.ts";
import { beginHalt, released } from "./halt.ts";
import { statusName, statusOf } from "./status.ts";

/** What a person asks for when they pause one workflow. */
export interface EngageCommand {
  readonly workflowId: string;
  readonly reason: string;
  readonly emergency: boolean;
  readonly engagedBy: string;
  /** The durable INTENT entry. */
  readonly entryId: string;
  /** From engagement to release by itself, in ms; undefined: never. */
  readonly expiresInMs: number | undefined;
  /** Throws where the workflow, as seen under the lock, is not what the caller means. */
  readonly precondition: () => Promise<void>;
}

/** What a person asks for when they resume one workflow. */
export type ReleaseCommand = Omit<EngageCommand, "engagedBy" | "expiresInMs"> & { readonly releasedBy: string };

/** What a command did. */
export interface ControlResult {
  /** The brake that holds, or the newest that was released. */
  readonly brake: Brake;
  readonly previousStatus: Status;
  /** True where it was so before: nothing was changed. */
  readonly unchanged: boolean;
}

/**
 * The brakes: which are engaged, and what is known of their halts. All that changes goes through `update`, which commits the
 * change with its ledger entry before anybody can see it. What is engaged is desired state: the reconciler makes it true.
 */
export class Brakes {
  readonly #ledger: Ledger;
  readonly #engines: EngineRegistry;
  /** Engaged, or released and not settled; by brakeId, the oldest first. */
  readonly #active = new Map<string, Brake>();
  readonly #byWorkflow = new Map<string, Set<string>>();
  readonly #locks = new Map<string, Promise<unknown>>();
  readonly #changes = new EventEmitter().setMaxListeners(0);

  private constructor(ledger: Ledger, engines: EngineRegistry) {
    this.#ledger = ledger;
    this.#engines = engines;
  }

  /** Loads what was engaged when the server last stopped. */
  static async open(store: Store, ledger: Ledger, engines: EngineRegistry): Promise<Brakes> {
    const brakes = new Brakes(ledger, engines);
    for (const brake of await store.activeBrakes()) brakes.#remember(brake);
    return brakes;
  }

  /** Engages a brake on one workflow, or finds the one that does as much already. */
  async engage(command: EngageCommand): Promise<ControlResult> {
    return this.#locked(command.workflowId, async () => {
      await command.precondition();
      const others = this.of(command.workflowId);
      const seen = await this.#observe(command.workflowId);
      const previousStatus = statusOf(seen.status, others);
      if (endedStatuses.includes(seen.status)) throw ended(command.workflowId, previousStatus);
      const now = Date.now();
      const expireTime = command.expiresInMs === undefined ? undefined : now + command.expiresInMs;
      const enough = others.findLast((brake) => isEngaged(brake) && holdsAsLong(brake, expireTime));
      if (enough) return { brake: enough, previousStatus, unchanged: true };
      const brake: Brake = {
        brakeId: `br_${randomUUID()}`,
        workflowId: command.workflowId,
        state: "ENGAGED",
        reason: command.reason,
        emergency: command.emergency,
        engagedBy: command.engagedBy,
        engageTime: now,
        expireTime,
        engageEntryId: command.entryId,
        release: undefined,
        halt: beginHalt(seen, others),
      };
      await this.update("brake.engaged", [brake], `engaged by ${command.engagedBy}`, command.entryId);
      return { brake, previousStatus, unchanged: false };
    });
  }

  /** Releases every brake that is engaged on this one workflow. */
  async release(command: ReleaseCommand): Promise<ControlResult> {
    return this.#locked(command.workflowId, async () => {
      await command.precondition();
      const all = this.of(command.workflowId);
      const seen = await this.#observe(command.workflowId);
      const previousStatus = statusOf(seen.status, all);
      if (endedStatuses.includes(seen.status)) throw ended(command.workflowId, previousStatus);
      const engaged = all.filter(isEngaged);
      if (engaged.length === 0) {
        const releasing = all.at(-1);
        if (releasing) return { brake: releasing, previousStatus, unchanged: true };
        throw notHeld(command.workflowId, seen);
      }
      const done = engaged.map(
        (brake): Brake => ({
          ...brake,
          state: "RELEASED",
          release: { by: command.releasedBy, reason: command.reason, time: Date.now(), entryId: command.entryId },
          halt: released(brake.halt, seen),
        }),
      );
      await this.update("brake.released", done, `released by ${command.releasedBy}`, command.entryId);
      return { brake: done.at(-1) as Brake, previousStatus, unchanged: false };
    });
  }

  /** Brakes on a workflow that are engaged, or released and not settled yet; the oldest first. */
  of(workflowId: string): Brake[] {
    return [...(this.#byWorkflow.get(workflowId) ?? [])].map((id) => this.#active.get(id) as Brake);
  }

  /** All brakes that are engaged, or released and not settled yet. */
  active(): MapIterator<Brake> {
    return this.#active.values();
  }

  /** How many are engaged. */
  get engagedCount(): number {
    return this.active().filter(isEngaged).toArray().length;
  }

  /** Commits the brakes' new state with one SYSTEM entry, then lets everybody see it. */
  async update(action: string, brakes: readonly Brake[], message: string, intentEntryId = ""): Promise<void> {
    const [first] = brakes;
    if (first === undefined) return;
    await this.#ledger.append(
      {
        phase: Phase.SYSTEM,
        action,
        target: first.workflowId,
        engine: parseWorkflowId(first.workflowId)?.engine ?? "",
        brakeId: first.brakeId,
        reason: (first.release?.reason ?? first.reason) || "",
        emergency: first.emergency,
        intentEntryId,
        message,
      },
      { brakes },
    );
    for (const brake of brakes) this.#remember(brake);
    for (const workflowId of new Set(brakes.map((brake) => brake.workflowId))) this.#changes.emit("change", workflowId);
  }

  /** Runs alone for the workflow: commands and the reconciler's notes never overtake each other. */
  exclusively<Result>(workflowId: string, work: () => Promise<Result>): Promise<Result> {
    return this.#locked(workflowId, work);
  }

  /** Calls back with the workflow's id whenever a brake on it has changed; returns how to stop that. */
  onChange(listener: (workflowId: string) => void): () => void {
    this.#changes.on("change", listener);
    return () => this.#changes.off("change", listener);
  }

  async #observe(workflowId: string): Promise<Observation> {
    const { engine, id } = this.#engines.locate(workflowId);
    const seen = (await engine.observe([id])).get(id);
    if (seen === undefined) throw workflowNotFound(workflowId);
    return seen;
  }

  #remember(brake: Brake): void {
    if (isEngaged(brake) || !brake.halt.settled) {
      this.#active.set(brake.brakeId, brake);
      const ids = this.#byWorkflow.get(brake.workflowId) ?? new Set();
      this.#byWorkflow.set(brake.workflowId, ids.add(brake.brakeId));
      return;
    }
    this.#active.delete(brake.brakeId);
    const ids = this.#byWorkflow.get(brake.workflowId);
    ids?.delete(brake.brakeId);
    if (ids?.size === 0) this.#byWorkflow.delete(brake.workflowId);
  }

  async #locked<Result>(workflowId: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#locks.get(workflowId) ?? Promise.resolve();
    const mine = before.then(work, work);
    const tail = mine.catch(() => undefined);
    this.#locks.set(workflowId, tail);
    try {
      return await mine;
    } finally {
      if (this.#locks.get(workflowId) === tail) this.#locks.delete(workflowId);
    }
  }
}

export function isEngaged(brake: Brake): boolean {
  return brake.state === "ENGAGED";
}

function holdsAsLong(brake: Brake, expireTime: number | undefined): boolean {
  return brake.expireTime === undefined || (expireTime !== undefined && brake.expireTime >= expireTime);
}

function ended(workflowId: string, status: Status): MissionControlError {
  return new MissionControlError(
    "WORKFLOW_ENDED",
    `"${workflowId}" has ended (${statusName(status)}): there is nothing to hold`,
    {
      metadata: { workflow_id: workflowId, status: statusName(status) },
    },
  );
}

function notHeld(workflowId: string, seen: Observation): MissionControlError {
  const metadata = { workflow_id: workflowId };
  return seen.status === "paused"
    ? new MissionControlError(
        "HELD_IN_ENGINE",
        `"${workflowId}" was paused in the engine's own tool, not by a brake: resume it there`,
        { metadata },
      )
    : new MissionControlError("WORKFLOW_NOT_HELD", `no brake holds "${workflowId}": there is nothing to release`, {
        metadata,
      });
}
