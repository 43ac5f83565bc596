import { setTimeout as delay } from "node:timers/promises";
import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type Drill, DrillSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { type Engine, endedStatuses, type Observation } from "../engines/engine.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { MissionControlError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import type { Hold } from "../store/brake.ts";
import type { Store } from "../store/store.ts";
import type { Brakes } from "./brakes.ts";
import type { FleetCommands } from "./fleet.ts";
import type { GateRules } from "./gate-rules.ts";
import { holds } from "./halt.ts";
import type { PauseCommands } from "./pause.ts";
import { until } from "./wait.ts";

/** Times in ms. */
const times = {
  /** Between two looks at the canary. */
  look: 25,
  /** How long the gates may take to confirm. */
  gates: 1_000,
  /** How long the canary is watched while it stands. */
  stand: 500,
  /** From the end of the time to stand to the brake's own end: nobody else releases it where the server dies meanwhile. */
  spare: 5_000,
  /** Between two tries to release it. */
  again: 500,
} as const;
const releaseTries = 5;
/** How far back the ledger is read for the last drills of an earlier start. */
const remembered = 32;
/** The message of a drill, in characters: it has to fit into a ledger entry with the figures. */
const maxMessage = 300;

/**
 * A harmless workflow that can be started beside an engine, for drills: it takes short steps for a few seconds and does
 * nothing. The engine's contract itself cannot start anything, and shall not.
 */
export interface Canary {
  /** The engine that it runs on, by configured name. */
  readonly engine: string;
  /** Starts one and resolves to its id: the full workflow_id or the engine's own. */
  start(signal: AbortSignal): Promise<string>;
}

/** What a drill is asked for with. */
export interface DrillCommand {
  /** The canary's engine; "" for the first one that has a canary. */
  readonly engine: string;
  readonly reason: string;
  /** Who asks; "" for the schedule. */
  readonly subject: string;
  /** The durable entry that announces it. */
  readonly entryId: string;
  /** For each of: running, standing, moving again, ms. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** What drills work with. */
export interface DrillDeps {
  readonly canaries: readonly Canary[];
  readonly brakes: Brakes;
  readonly engines: EngineRegistry;
  readonly pauses: PauseCommands;
  readonly fleet: FleetCommands;
  readonly gateRules: GateRules;
  readonly ledger: Ledger;
  readonly log: Logger;
}

/**
 * Drills of the brake: a canary is started, paused by the same command as any workflow, watched, and released. One at a time.
 * Whatever happens, the brake on it goes: it is released in the end, and expires by itself where the server dies before.
 */
export class Drills {
  readonly #deps: DrillDeps;
  readonly #last = new Map<string, Drill>();
  readonly #stop = new AbortController();
  #running: Promise<Drill> | undefined;
  /** A canary that another brake held when it was drilled. */
  #heldCanary: string | undefined;

  private constructor(deps: DrillDeps) {
    this.#deps = deps;
  }

  /** Reads what the last drills showed from the ledger. */
  static async open(deps: DrillDeps, store: Store): Promise<Drills> {
    const drills = new Drills(deps);
    const query = { actions: ["brake.drill"], phases: [Phase.SYSTEM], limit: remembered };
    for (const { message } of (await store.listEntries(query)).reverse()) {
      const drill = fromJsonString(DrillSchema, message, { ignoreUnknownFields: true });
      drills.#remember(drill);
    }
    return drills;
  }

  /** The engines that have a canary. */
  get engines(): readonly string[] {
    return this.#deps.canaries.map(({ engine }) => engine);
  }

  /** The last drill on each engine, the oldest first. */
  get last(): readonly Drill[] {
    return [...this.#last.values()];
  }

  /**
   * Drills. What goes wrong with the canary or the brake is a drill that is not ok.
   * @throws MissionControlError NO_CANARY, UNKNOWN_ENGINE, DRILL_RUNNING, CANARY_HELD; the signal's reason.
   */
  async run(command: DrillCommand): Promise<Drill> {
    const canary = this.#canary(command.engine);
    if (this.#running) {
      throw new MissionControlError("DRILL_RUNNING", "a drill is running, and one runs at a time: ask again in a moment");
    }
    if (this.#heldCanary !== undefined) this.#refuseHeld(this.#heldCanary, undefined);
    this.#heldCanary = undefined;
    this.#running = this.#drill(canary, command);
    try {
      return await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Ends the drill under way, its brake released. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running?.catch(() => undefined);
  }

  #canary(engine: string): Canary {
    if (engine !== "") this.#deps.engines.named(engine);
    const canary = this.#deps.canaries.find((one) => engine === "" || one.engine === engine);
    if (canary) return canary;
    throw new MissionControlError(
      "NO_CANARY",
      `${engine === "" ? "no engine" : `the engine "${engine}"`} has a canary to drill on: configure one (dev mode has it in its sample agents, unless it was started with --no-agents)`,
      { metadata: { engine } },
    );
  }

  async #drill(canary: Canary, command: DrillCommand): Promise<Drill> {
    const { ledger, log } = this.#deps;
    const { subject: drilledBy, reason, entryId } = command;
    const signal = AbortSignal.any([command.signal, this.#stop.signal]);
    const drill = create(DrillSchema, { engine: canary.engine, drilledBy, startTime: timestampFromMs(Date.now()) });
    try {
      await this.#measure(drill, canary, command, signal);
      drill.ok = true;
      drill.message = told(drill);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof MissionControlError && error.reason === "CANARY_HELD") throw error;
      drill.message = (error instanceof Error ? error.message : String(error)).slice(0, maxMessage);
      log.error({ err: error, workflowId: drill.workflowId, brakeId: drill.brakeId }, "a drill of the brake failed");
    }
    this.#remember(drill);
    const { engine, workflowId: target, brakeId } = drill;
    const message = toJsonString(DrillSchema, drill);
    await ledger.append({
      phase: Phase.SYSTEM,
      action: "brake.drill",
      engine,
      target,
      brakeId,
      reason,
      message,
      intentEntryId: entryId,
    });
    return drill;
  }

  /** Fills in the figures, one after the other. Throws what went wrong; the brake on the canary is released then as well. */
  async #measure(drill: Drill, canary: Canary, command: DrillCommand, signal: AbortSignal): Promise<void> {
    const { engines, pauses } = this.#deps;
    const { waitMs, reason, entryId } = command;
    const began = Date.now();
    const started = await canary.start(AbortSignal.any([signal, AbortSignal.timeout(waitMs)]));
    const { engine, id, workflowId } = engines.locate(started);
    drill.workflowId = workflowId;
    const canaryOf = { engine, id, workflowId, waitMs, signal };
    await this.#see("run", canaryOf, (seen) => seen.steps.length > 0);
    drill.startToRunning = since(began);

    const requested = Date.now();
    const { held } = await pauses.pause({
      workflowId,
      reason,
      emergency: false,
      subject: command.subject || "the drill schedule",
      entryId,
      claim: undefined,
      validateOnly: false,
      precondition: async () => undefined,
      expiresInMs: waitMs + times.spare,
    });
    // Somebody was quicker to pause it: that brake is theirs.
    if (held?.brake.engageEntryId !== entryId) throw canaryHeld(workflowId, held ? [held.brake.brakeId] : []);
    const { brakeId } = held.brake;
    drill.brakeId = brakeId;
    let steps: number;
    let released: number;
    try {
      await this.#stands(drill, canaryOf, requested);
      steps = await this.#stays(drill, canaryOf);
    } finally {
      released = Date.now();
      await this.#release(brakeId, command);
    }
    const moved = (seen: Observation) => seen.steps.length > steps || endedStatuses.includes(seen.status);
    await this.#see("move again", canaryOf, moved);
    drill.releaseToMoving = since(released);
  }

  /** Waits for the gates and the standstill. */
  async #stands(drill: Drill, { workflowId, waitMs, signal }: RunningCanary, requested: number): Promise<void> {
    const { brakes, gateRules } = this.#deps;
    const { brakeId } = drill;
    const hold = (): Hold | undefined => brakes.hold(brakeId, workflowId);
    const done = () => hold()?.halt.standstillTime !== undefined || hold()?.ended !== false;
    const [gates] = await Promise.all([
      gateRules.confirmed(times.gates, signal),
      until(brakes, done, waitMs, signal),
    ]);
    signal.throwIfAborted();
    drill.gates = gates.length;
    drill.gatesConfirmed = gates.filter(({ ackTime }) => ackTime !== undefined).length;
    const { acceptTime, standstillTime } = hold()?.halt ?? {};
    if (acceptTime !== undefined) drill.requestToAccept = durationFromMs(acceptTime - requested);
    if (standstillTime === undefined) {
      const ended = hold()?.ended === false ? "" : ": it ended, or its brake did, before it stood";
      throw new Error(`the canary was not seen to stand within ${waitMs} ms${ended}`);
    }
    drill.requestToStandstill = durationFromMs(standstillTime - requested);
  }

  /** Watches it while it stands; how many steps it has begun so far. */
  async #stays(drill: Drill, { engine, id, workflowId, signal }: RunningCanary): Promise<number> {
    const look = async () => (await engine.observe([id], signal, true)).get(id);
    const before = await look();
    await delay(times.stand, undefined, { signal });
    const after = await look();
    const { acceptTime, standstillTime } = this.#deps.brakes.hold(drill.brakeId, workflowId)?.halt ?? {};
    const from = acceptTime ?? standstillTime ?? Number.POSITIVE_INFINITY;
    drill.stepsStartedAfterAccept = after?.steps.filter((step) => step.startTime.getTime() > from).length ?? 0;
    if (before === undefined || after === undefined) throw new Error("the engine denied the canary while it stood");
    const begun = after.steps.length - before.steps.length;
    if (begun > 0 || after.status !== "paused") {
      throw new Error(`the canary stood, and then was seen ${after.phase}, with ${begun} new steps begun`);
    }
    return after.steps.length;
  }

  /** Releases it, also where the caller is gone; where the ledger refuses, again and again for a while. */
  async #release(brakeId: string, { subject, reason, entryId }: DrillCommand): Promise<void> {
    for (let left = releaseTries; ; left--) {
      try {
        const asking = { subject: subject || "the drill schedule", roles: [], reason, entryId, claim: undefined };
        await this.#deps.fleet.release(brakeId, asking, undefined);
        return;
      } catch (error) {
        if (error instanceof MissionControlError && error.reason === "BRAKE_NOT_ENGAGED") return;
        if (left <= 1) throw error;
        await delay(times.again);
      }
    }
  }

  /** Looks until it is so. Throws where it is not in time, or where another brake holds the canary. */
  async #see(what: string, canary: RunningCanary, done: (seen: Observation) => boolean): Promise<void> {
    const { engine, id, workflowId, waitMs, signal } = canary;
    const deadline = Date.now() + waitMs;
    for (;;) {
      const seen = (await engine.observe([id], signal)).get(id);
      if (seen && done(seen)) return;
      this.#refuseHeld(workflowId, canary);
      if (Date.now() > deadline) {
        throw new Error(`the canary was not seen to ${what} within ${waitMs} ms (last seen ${seen?.phase ?? "nowhere"})`);
      }
      await delay(times.look, undefined, { signal });
    }
  }

  /** Throws CANARY_HELD where a brake holds it. The drill's own is engaged only between the two looks that call this. */
  #refuseHeld(workflowId: string, _canary: RunningCanary | undefined): void {
    const holding = this.#deps.brakes.on(workflowId).filter(holds);
    if (holding.length === 0) return;
    this.#heldCanary = workflowId;
    throw canaryHeld(
      workflowId,
      holding.map(({ brake }) => brake.brakeId),
    );
  }

  #remember(drill: Drill): void {
    this.#last.delete(drill.engine);
    this.#last.set(drill.engine, drill);
  }
}

/** A canary that was started. */
interface RunningCanary {
  readonly engine: Engine;
  /** The engine's own id. */
  readonly id: string;
  readonly workflowId: string;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

function since(began: number): Duration {
  return durationFromMs(Date.now() - began);
}

function told(drill: Drill): string {
  const ms = (value: Duration | undefined) => `${value ? Number(value.seconds) * 1_000 + value.nanos / 1e6 : "?"} ms`;
  const accepted = drill.requestToAccept ? ` (accepted after ${ms(drill.requestToAccept)})` : "";
  return (
    `the canary stood ${ms(drill.requestToStandstill)} after the request${accepted}, took no step while it stood, ` +
    `and moved ${ms(drill.releaseToMoving)} after its release`
  );
}

function canaryHeld(workflowId: string, brakeIds: readonly string[]): MissionControlError {
  return new MissionControlError(
    "CANARY_HELD",
    `the canary "${workflowId}" is held by ${brakeIds.slice(0, 5).join(", ")}, so a drill would measure nothing: drill again when it is released`,
    { metadata: { workflow_id: workflowId, brake_ids: brakeIds.slice(0, 100).join(",") } },
  );
}
