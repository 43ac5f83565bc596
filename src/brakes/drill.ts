import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type Drill, DrillSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import type { Store } from "../store/store.ts";
import { canaryHeld, type DrillCommands, measure } from "./drill/measure.ts";
import { holds } from "./halt.ts";

/** How far back the ledger is read for the last drills of an earlier start, in drills. */
const remembered = 32;
/** The message of a drill, in characters: together with the figures it has to fit into a ledger entry. */
const maxMessage = 300;

/**
 * A harmless workflow that can be started beside an engine, for drills: it takes short steps for a few seconds, and does
 * nothing. An engine's own contract has no way to start anything, and gets none.
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
  /** How long each of these may take: running, standing, moving again; ms. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** What drills work with. */
export interface DrillDeps extends DrillCommands {
  readonly canaries: readonly Canary[];
  readonly ledger: Ledger;
  readonly store: Store;
  readonly log: Logger;
}

/** Drills of the brake, one at a time, and what the last ones showed. */
export class Drills {
  readonly #deps: DrillDeps;
  readonly #last = new Map<string, Drill>();
  readonly #stop = new AbortController();
  #running: Promise<Drill> | undefined;
  /** A canary that another brake held when it was drilled: there need not be more of them. */
  #heldCanary: string | undefined;

  private constructor(deps: DrillDeps) {
    this.#deps = deps;
  }

  /** Reads from the ledger what the last drills showed. */
  static async open(deps: DrillDeps): Promise<Drills> {
    const drills = new Drills(deps);
    const query = { actions: ["brake.drill"], phases: [Phase.SYSTEM], limit: remembered };
    for (const { message } of (await deps.store.listEntries(query)).entries.reverse()) {
      const drill = fromLedger(message);
      if (drill) drills.#remember(drill);
    }
    return drills;
  }

  /** The engines that have a canary, by name. */
  get engines(): readonly string[] {
    return this.#deps.canaries.map(({ engine }) => engine);
  }

  /** The last drill on each engine, the newest at the end. */
  get last(): readonly Drill[] {
    return [...this.#last.values()];
  }

  /**
   * Drills, and records what it showed. A canary or a brake that does not do as it should is a drill that is not ok.
   *
   * @throws MissionControlError NO_CANARY, UNKNOWN_ENGINE, DRILL_RUNNING, CANARY_HELD, LEDGER_UNAVAILABLE; the signal's reason.
   */
  async run(command: DrillCommand): Promise<Drill> {
    const canary = this.#canary(command.engine);
    if (this.#running) {
      throw new MissionControlError(
        "DRILL_RUNNING",
        "a drill is running, and there is one at a time: ask again in a moment",
      );
    }
    if (this.#heldCanary !== undefined) {
      const holding = this.#deps.brakes.on(this.#heldCanary).filter(holds);
      if (holding.length > 0) {
        throw canaryHeld(
          this.#heldCanary,
          holding.map(({ brake }) => brake.brakeId),
        );
      }
      this.#heldCanary = undefined;
    }
    this.#running = this.#drill(canary, command);
    try {
      return await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Ends the drill under way; resolves when its brake is released. */
  async stop(): Promise<void> {
    this.#stop.abort(new MissionControlError("SHUTTING_DOWN", "this server is shutting down: drill again later"));
    await this.#running?.catch(() => undefined);
  }

  #canary(engine: string): Canary {
    const { canaries, engines } = this.#deps;
    if (engine !== "") engines.named(engine);
    const canary = canaries.find((one) => engine === "" || one.engine === engine);
    if (canary) return canary;
    throw new MissionControlError(
      "NO_CANARY",
      `${engine === "" ? "there is no engine with a canary" : `the engine "${engine}" has no canary`}, which a drill needs to ` +
        "have something to brake: configure one (in dev mode, the sample agents bring it: start it without --no-agents)",
      { metadata: { engine } },
    );
  }

  async #drill(canary: Canary, command: DrillCommand): Promise<Drill> {
    const { ledger, log } = this.#deps;
    const { subject: drilledBy, reason, entryId } = command;
    const signal = AbortSignal.any([this.#stop.signal, command.signal]);
    signal.throwIfAborted();
    const drill = create(DrillSchema, { engine: canary.engine, drilledBy, startTime: timestampFromMs(Date.now()) });
    try {
      await measure(drill, canary, command, this.#deps, signal);
      drill.ok = true;
      drill.message = told(drill);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof MissionControlError && error.reason === "CANARY_HELD") {
        this.#heldCanary = drill.workflowId;
        throw error;
      }
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

  #remember(drill: Drill): void {
    this.#last.delete(drill.engine);
    this.#last.set(drill.engine, drill);
  }
}

/** Undefined where the entry does not hold the figures whole: nothing hangs on it but what health shows until the next drill. */
function fromLedger(message: string): Drill | undefined {
  try {
    return fromJsonString(DrillSchema, message, { ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}

function told({ requestToAccept, requestToStandstill, releaseToMoving }: Drill): string {
  const ms = (value: Duration | undefined) => `${value ? durationMs(value) : 0} ms`;
  const accepted = requestToAccept ? ` (accepted after ${ms(requestToAccept)})` : "";
  return (
    `the canary stood ${ms(requestToStandstill)} after the request${accepted}, took no step while it stood, and moved ` +
    `${ms(releaseToMoving)} after its release`
  );
}
