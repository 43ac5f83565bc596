import { randomUUID } from "node:crypto";
import { create, toJson } from "@bufbuild/protobuf";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type EngineWorkflow, endedStatuses } from "../engines/engine.ts";
import { type EngineRegistry, workflowNotFound } from "../engines/registry.ts";
import { MissionControlError } from "../errors.ts";
import type { Brake, Held, Hold } from "../store/brake.ts";
import type { Brakes, Claim } from "./brakes.ts";
import { boundedExpiry, expireTimeOf } from "./expiry.ts";
import { beginHalt, holds } from "./halt.ts";
import { statusName, statusOf } from "./status.ts";

/** What a person asks for when they pause or resume one workflow. */
export interface ControlCommand {
  readonly workflowId: string;
  readonly reason: string;
  readonly emergency: boolean;
  readonly subject: string;
  readonly issuer: string;
  /** The durable INTENT entry. */
  readonly entryId: string;
  /** The idempotent request that it is; undefined where it has no request_id. */
  readonly claim: Claim | undefined;
  /** True: everything is checked, nothing is done. */
  readonly validateOnly: boolean;
  /** Throws where the workflow, as seen under the lock, is not what the caller means. */
  readonly precondition: () => Promise<void>;
}

/** What a command did. */
export interface ControlResult {
  /** The hold, with its brake, or the newest of those that were released; undefined where nothing was to be done. */
  readonly held: Held | undefined;
  readonly previousStatus: Status;
}

/** Pause and resume of one workflow: a brake that names it. */
export class PauseCommands {
  readonly #brakes: Brakes;
  readonly #engines: EngineRegistry;
  readonly #longestMs: number | undefined;

  /** @param longestMs the longest that a brake may hold; undefined: until somebody releases it. */
  constructor(brakes: Brakes, engines: EngineRegistry, longestMs?: number) {
    this.#brakes = brakes;
    this.#engines = engines;
    this.#longestMs = longestMs;
  }

  /** Engages a brake on one workflow, or finds the one that does as much already. `expiresInMs` undefined: never expires. */
  pause(command: ControlCommand & { readonly expiresInMs: number | undefined }): Promise<ControlResult> {
    const { workflowId } = command;
    const expiresInMs = boundedExpiry(command.expiresInMs, this.#longestMs);
    return this.#brakes.exclusively(workflowId, async () => {
      await command.precondition();
      const shown = await this.#look(workflowId);
      const others = this.#brakes.on(workflowId);
      const previousStatus = statusOf(shown.status, others);
      if (endedStatuses.includes(shown.status)) throw workflowEnded(workflowId, previousStatus);
      const byGate = shown.status === "paused" && (await this.#isPausedByGate(workflowId));
      const now = Date.now();
      const enough = others.findLast(
        (held) => held.brake.workflowId !== "" && holds(held) && lasts(held, now, expiresInMs),
      );
      if (enough) return { held: enough, previousStatus };
      if (command.validateOnly) return { held: undefined, previousStatus };
      const brake: Brake = {
        brakeId: newBrakeId(),
        selector: toJson(SelectorSchema, create(SelectorSchema, { workflowIds: [workflowId] })),
        workflowId,
        includeDescendants: false,
        state: "ENGAGED",
        reason: command.reason,
        ticket: "",
        emergency: command.emergency,
        engagedBy: command.subject,
        issuer: command.issuer,
        radius: undefined,
        createTime: now,
        engageTime: now,
        expiresInMs,
        expiryWarned: false,
        engageEntryId: command.entryId,
        approval: undefined,
        release: undefined,
        gates: [],
      };
      const hold: Hold = {
        brakeId: brake.brakeId,
        workflowId,
        traits: { type: shown.type, labels: shown.labels },
        name: shown.name,
        catchTime: now,
        late: false,
        caughtThrough: "",
        order: 0,
        ended: false,
        halt: beginHalt(byGate ? "running" : shown.status, others, now),
      };
      await this.#brakes.update(
        "brake.engaged",
        { brakes: [brake], holds: [hold], claim: command.claim },
        { ...about(command), message: `engaged by ${command.subject}` },
      );
      return { held: { brake, hold }, previousStatus };
    });
  }

  /** Releases every brake that is engaged on this one workflow; a selector's brake goes on holding it. */
  resume(command: ControlCommand): Promise<ControlResult> {
    const { workflowId } = command;
    return this.#brakes.exclusively(workflowId, async () => {
      await command.precondition();
      const shown = await this.#look(workflowId);
      const all = this.#brakes.on(workflowId);
      const previousStatus = statusOf(shown.status, all);
      if (endedStatuses.includes(shown.status)) throw workflowEnded(workflowId, previousStatus);
      const holding = all.filter(holds);
      const own = holding.filter(({ brake }) => brake.workflowId !== "");
      const others = holding.filter(({ brake }) => brake.workflowId === "");
      const newest = own.at(-1);
      if (newest === undefined) {
        if (others.length > 0) throw heldByOthers(workflowId, others);
        const releasing = all.at(-1);
        if (releasing) return { held: releasing, previousStatus };
        throw notHeld(workflowId, shown);
      }
      if (command.validateOnly) return { held: undefined, previousStatus };
      const release = {
        by: command.subject,
        reason: command.reason,
        time: Date.now(),
        entryId: command.entryId,
        staged: undefined,
        letGo: 0,
        stageTime: 0,
        haltedBecause: "",
      };
      const done = own.map(({ brake }): Brake => ({ ...brake, state: "RELEASED", release }));
      await this.#brakes.update(
        "brake.released",
        { brakes: done, claim: command.claim },
        { ...about(command), message: `released by ${command.subject}` },
      );
      // The brake on this one workflow is gone; it is told who else goes on holding it.
      if (others.length > 0) throw heldByOthers(workflowId, others, "its pause is released, but ");
      return { held: { brake: done.at(-1) ?? newest.brake, hold: newest.hold }, previousStatus };
    });
  }

  async #isPausedByGate(workflowId: string): Promise<boolean> {
    const { engine, id } = this.#engines.locate(workflowId);
    return (await engine.pausedByGate([id])).has(id);
  }

  async #look(workflowId: string): Promise<EngineWorkflow> {
    const { engine, id } = this.#engines.locate(workflowId);
    const [shown] = await engine.get([id]);
    if (shown === undefined) throw workflowNotFound(workflowId);
    return shown;
  }
}

export function newBrakeId(): string {
  return `br_${randomUUID()}`;
}

function about(command: ControlCommand) {
  return { reason: command.reason, emergency: command.emergency, intentEntryId: command.entryId };
}

/** True where it holds at least as long as is asked for now. */
function lasts({ brake }: Held, now: number, expiresInMs: number | undefined): boolean {
  const expireTime = expireTimeOf(brake);
  return expireTime === undefined || (expiresInMs !== undefined && expireTime >= now + expiresInMs);
}

function workflowEnded(workflowId: string, status: Status): MissionControlError {
  return new MissionControlError(
    "WORKFLOW_ENDED",
    `"${workflowId}" has ended (${statusName(status)}): there is nothing to hold`,
    { metadata: { workflow_id: workflowId, status: statusName(status) } },
  );
}

/** The refusal to say that it goes on while others hold it. */
export function heldByOthers(workflowId: string, others: readonly Held[], before = ""): MissionControlError {
  const ids = others.map(({ brake }) => brake.brakeId);
  return new MissionControlError(
    "HELD_BY_OTHER_BRAKES",
    `${before}"${workflowId}" is still held by ${ids.slice(0, 5).join(", ")}: it goes on when these are released too`,
    { metadata: { workflow_id: workflowId, brake_ids: ids.slice(0, 100).join(",") } },
  );
}

function notHeld(workflowId: string, shown: EngineWorkflow): MissionControlError {
  const metadata = { workflow_id: workflowId };
  return shown.status === "paused"
    ? new MissionControlError(
        "HELD_IN_ENGINE",
        `"${workflowId}" was paused in the engine's own tool, not by a brake: resume it there`,
        { metadata },
      )
    : new MissionControlError("WORKFLOW_NOT_HELD", `no brake holds "${workflowId}": there is nothing to release`, {
        metadata,
      });
}
