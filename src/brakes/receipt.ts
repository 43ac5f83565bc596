import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type FleetReceipt, FleetReceiptSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Brake, Hold } from "../store/brake.ts";
import { holds as holding } from "./halt.ts";

/** What is known of the standstill of all that a brake holds or held. `attached`: gates that are there now, by name. */
export function fleetReceipt(brake: Brake, holds: readonly Hold[], attached: ReadonlySet<string>): FleetReceipt {
  const stood = holds.filter((hold) => hold.halt.standstillTime !== undefined);
  // While it is engaged, what a stage of its release has let go stands no more.
  const standing = stood.filter(
    (hold) => !hold.ended && (brake.state !== "ENGAGED" || (holding({ brake, hold }) && !hold.halt.settled)),
  );
  const open = holds.filter((hold) => !hold.ended && hold.halt.standstillTime === undefined);
  const accepted = holds.flatMap(({ halt }) =>
    halt.acceptTime === undefined ? [] : [halt.acceptTime - halt.requestTime],
  );
  const times = stood.flatMap(({ halt }) =>
    halt.standstillTime === undefined ? [] : [halt.standstillTime - halt.requestTime],
  );
  const steps = holds.flatMap(({ halt }) => halt.steps?.inFlight ?? []);
  const first = holds.filter((hold) => !hold.late);
  const receipt = create(FleetReceiptSchema, {
    matched: holds.length,
    standing: standing.length,
    // What was accepted is on its way; what was not has not begun, or the engine was not asked yet.
    halting: open.filter((hold) => hold.halt.acceptTime !== undefined).length,
    pending: open.filter((hold) => hold.halt.acceptTime === undefined).length,
    ended: holds.filter((hold) => hold.ended).length,
    descendants: holds.filter((hold) => hold.caughtThrough !== "").length,
    caughtLater: holds.length - first.length,
    stepsInFlight: steps.length,
    stepsFinished: steps.filter((step) => step.outcome === "finished").length,
    stepsRerun: steps.filter((step) => step.outcome === "reruns").length,
    stepsStartedAfterAccept: holds.reduce((sum, { halt }) => sum + (halt.steps?.startedAfterAccept ?? 0), 0),
    gates: brake.gates.map(({ gate, ackTime }) => ({
      gate,
      attached: attached.has(gate),
      ...(ackTime === undefined ? {} : { ackTime: timestampFromMs(ackTime) }),
    })),
  });
  if (brake.engageTime !== undefined) receipt.requestTime = timestampFromMs(brake.engageTime);
  if (accepted.length > 0) {
    receipt.acceptP50 = durationFromMs(quantile(accepted, 0.5));
    receipt.acceptP99 = durationFromMs(quantile(accepted, 0.99));
  }
  if (times.length > 0) {
    receipt.standstillP50 = durationFromMs(quantile(times, 0.5));
    receipt.standstillP99 = durationFromMs(quantile(times, 0.99));
    receipt.standstillMax = durationFromMs(quantile(times, 1));
  }
  if (brake.engageTime !== undefined && first.every((hold) => hold.ended || hold.halt.standstillTime !== undefined)) {
    const last = first.reduce((latest, { halt }) => Math.max(latest, halt.standstillTime ?? 0), brake.engageTime);
    receipt.allStandingTime = timestampFromMs(last);
  }
  return receipt;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * q) - 1)] ?? 0;
}
