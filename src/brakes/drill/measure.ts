import { setTimeout as delay } from "node:timers/promises";
import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Drill } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { type Engine, endedStatuses, type Observation } from "../../engines/engine.ts";
import type { EngineRegistry } from "../../engines/registry.ts";
import { MissionControlError } from "../../errors.ts";
import type { Hold } from "../../store/brake.ts";
import type { Brakes } from "../brakes.ts";
import type { Canary, DrillCommand } from "../drill.ts";
import type { FleetCommands } from "../fleet.ts";
import type { GateRules } from "../gate-rules.ts";
import { holds } from "../halt.ts";
import type { PauseCommands } from "../pause.ts";
import { until } from "../wait.ts";

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

/** The real commands: what a drill measures is what everybody gets. */
export interface DrillCommands {
  readonly brakes: Brakes;
  readonly engines: EngineRegistry;
  readonly pauses: PauseCommands;
  readonly fleet: FleetCommands;
  readonly gateRules: GateRules;
}

/** A canary that was started. */
interface Running {
  readonly engine: Engine;
  /** The engine's own id. */
  readonly id: string;
  readonly workflowId: string;
}

/**
 * Starts a canary, pauses it, watches it stand, releases it, sees it move, and fills in the figures on the way. Once there is
 * a brake on it, that is released, whatever comes.
 *
 * @throws MissionControlError CANARY_HELD where another brake holds it; any other error for a drill that did not go well.
 */
export async function measure(
  drill: Drill,
  canary: Canary,
  command: DrillCommand,
  commands: DrillCommands,
  signal: AbortSignal,
): Promise<void> {
  const { waitMs, reason, entryId } = command;
  const { brakes, engines, pauses, fleet } = commands;
  const subject = command.subject || "the drill schedule";
  const began = Date.now();
  const running = engines.locate(await started(canary, waitMs, signal));
  drill.workflowId = running.workflowId;
  await see("run", running, brakes, waitMs, signal, (seen) => seen.steps.length > 0);
  drill.startToRunning = since(began);

  const requested = Date.now();
  const { held } = await pauses.pause({
    workflowId: running.workflowId,
    reason,
    emergency: false,
    subject,
    issuer: "",
    entryId,
    claim: undefined,
    validateOnly: false,
    precondition: async () => undefined,
    expiresInMs: waitMs + times.spare,
  });
  // Somebody was quicker to pause it: that brake is theirs.
  if (held?.brake.engageEntryId !== entryId) throw canaryHeld(running.workflowId, held ? [held.brake.brakeId] : []);
  drill.brakeId = held.brake.brakeId;
  let steps: number;
  let releasing: number;
  try {
    await stands(drill, commands, waitMs, signal, requested);
    steps = await stays(drill, running, brakes, signal);
  } finally {
    releasing = Date.now();
    await release(() =>
      fleet.release(drill.brakeId, { subject, issuer: "", reason, entryId, claim: undefined }, undefined),
    );
  }
  const moved = (seen: Observation) => seen.steps.length > steps || endedStatuses.includes(seen.status);
  await see("move again", running, brakes, waitMs, signal, moved);
  drill.releaseToMoving = since(releasing);
}

/** The refusal to drill on a canary that other brakes hold. */
export function canaryHeld(workflowId: string, brakeIds: readonly string[]): MissionControlError {
  return new MissionControlError(
    "CANARY_HELD",
    `a drill would measure nothing: its canary "${workflowId}" is held by ${brakeIds.slice(0, 5).join(", ")}; drill again when that is released`,
    { metadata: { workflow_id: workflowId, brake_ids: brakeIds.slice(0, 100).join(",") } },
  );
}

async function started(canary: Canary, waitMs: number, signal: AbortSignal): Promise<string> {
  try {
    return await canary.start(AbortSignal.any([signal, AbortSignal.timeout(waitMs)]));
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(`the canary could not be started: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

/** Waits for the gates and the standstill. */
async function stands(
  drill: Drill,
  { brakes, gateRules }: DrillCommands,
  waitMs: number,
  signal: AbortSignal,
  requested: number,
): Promise<void> {
  const hold = (): Hold | undefined => brakes.hold(drill.brakeId, drill.workflowId);
  const done = () => hold()?.ended !== false || hold()?.halt.standstillTime !== undefined;
  const [gates] = await Promise.all([gateRules.confirmed(times.gates, signal), until(brakes, done, waitMs, signal)]);
  signal.throwIfAborted();
  drill.gates = gates.length;
  drill.gatesConfirmed = gates.filter(({ ackTime }) => ackTime !== undefined).length;
  const { acceptTime, standstillTime } = hold()?.halt ?? {};
  if (acceptTime !== undefined) drill.requestToAccept = durationFromMs(acceptTime - requested);
  if (standstillTime === undefined) {
    const open = hold()?.ended === false;
    throw new Error(
      open
        ? `the canary was not seen to stand within ${waitMs} ms`
        : "the canary, or the brake on it, ended before it stood",
    );
  }
  drill.requestToStandstill = durationFromMs(standstillTime - requested);
}

/** Watches it while it stands; resolves to how many steps it has begun so far. */
async function stays(drill: Drill, { engine, id }: Running, brakes: Brakes, signal: AbortSignal): Promise<number> {
  const look = async () => (await engine.observe([id], signal, true)).get(id);
  const before = await look();
  await delay(times.stand, undefined, { signal });
  const after = await look();
  const { acceptTime, standstillTime } = brakes.hold(drill.brakeId, drill.workflowId)?.halt ?? {};
  const from = acceptTime ?? standstillTime ?? Number.POSITIVE_INFINITY;
  drill.stepsStartedAfterAccept = after?.steps.filter((step) => step.startTime.getTime() > from).length ?? 0;
  if (before === undefined || after === undefined) throw new Error("the engine denied the canary while it stood");
  const begun = after.steps.length - before.steps.length;
  if (begun === 0 && after.status === "paused") return after.steps.length;
  throw new Error(`the canary stood, and did not stay so: it was seen ${after.phase}, with ${begun} more steps begun`);
}

/** Where the ledger refuses, again and again for a while: what is left then is that the brake expires. */
async function release(work: () => Promise<unknown>): Promise<void> {
  for (let left = releaseTries; ; left--) {
    try {
      await work();
      return;
    } catch (error) {
      if (error instanceof MissionControlError && error.reason === "BRAKE_NOT_ENGAGED") return;
      if (left === 1) throw error;
      await delay(times.again);
    }
  }
}

/** Looks until it is so. Throws where it is not in time, or where a brake holds the canary. */
async function see(
  what: string,
  { engine, id, workflowId }: Running,
  brakes: Brakes,
  waitMs: number,
  signal: AbortSignal,
  done: (seen: Observation) => boolean,
): Promise<void> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const seen = (await engine.observe([id], signal)).get(id);
    if (seen && done(seen)) return;
    const holding = brakes.on(workflowId).filter(holds);
    if (holding.length > 0) {
      throw canaryHeld(
        workflowId,
        holding.map(({ brake }) => brake.brakeId),
      );
    }
    if (Date.now() > deadline) {
      throw new Error(
        `the canary was not seen to ${what} within ${waitMs} ms (last seen: ${seen?.phase ?? "nothing"})`,
      );
    }
    await delay(times.look, undefined, { signal });
  }
}

function since(began: number): Duration {
  return durationFromMs(Date.now() - began);
}
