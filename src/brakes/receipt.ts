import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type EngineOutage, type FleetReceipt, FleetReceiptSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Brake, Hold } from "../store/brake.ts";
import { holds as holding } from "./halt.ts";

/**
 * What is known of the standstill of all that a brake holds or held.
 *
 * @param attached gates that are there now, by name.
 * @param outages engines that do not answer; `hidden` where the brake has not looked at one of them yet.
 */
export function fleetReceipt(
  brake: Brake,
  holds: readonly Hold[],
  attached: ReadonlySet<string>,
  outages: { readonly away: EngineOutage[]; readonly hidden: boolean },
): FleetReceipt {
  const receipt = create(FleetReceiptSchema, {
    matched: holds.length,
    unreachableEngines: outages.away,
    gates: brake.gates.map(({ gate, ackTime }) => ({
      gate,
      attached: attached.has(gate),
      ...(ackTime === undefined ? {} : { ackTime: timestampFromMs(ackTime) }),
    })),
  });
  const accepted: number[] = [];
  const times: number[] = [];
  // When the last of those stood that were there at the engagement; undefined while one of them does not.
  let last = outages.hidden ? undefined : brake.engageTime;
  for (const hold of holds) {
    const { requestTime, acceptTime, standstillTime, steps } = hold.halt;
    if (acceptTime !== undefined) accepted.push(acceptTime - requestTime);
    if (standstillTime !== undefined) {
      times.push(standstillTime - requestTime);
      if (steps === undefined) receipt.journalsUnread++;
      // While it is engaged, what a stage of its release has let go stands no more.
      const stands = brake.state !== "ENGAGED" || (holding({ brake, hold }) && !hold.halt.settled);
      if (!hold.ended && stands) receipt.standing++;
    }
    // What was accepted is on its way; what was not has not begun, or the engine was not asked yet.
    else if (!hold.ended && acceptTime !== undefined) receipt.halting++;
    else if (!hold.ended) receipt.pending++;
    if (hold.ended) receipt.ended++;
    if (hold.caughtThrough !== "") receipt.descendants++;
    if (hold.missed) receipt.missedAtFirst++;
    if (hold.late) receipt.caughtLater++;
    else if (standstillTime !== undefined && last !== undefined) last = Math.max(last, standstillTime);
    else if (!hold.ended) last = undefined;
    for (const { outcome } of steps?.inFlight ?? []) {
      receipt.stepsInFlight++;
      if (outcome === "finished") receipt.stepsFinished++;
      else receipt.stepsRerun++;
    }
    receipt.stepsStartedAfterAccept += steps?.startedAfterAccept ?? 0;
  }
  if (brake.engageTime !== undefined) receipt.requestTime = timestampFromMs(brake.engageTime);
  if (accepted.length > 0) {
    const sorted = Float64Array.from(accepted).sort();
    receipt.acceptP50 = durationFromMs(quantile(sorted, 0.5));
    receipt.acceptP99 = durationFromMs(quantile(sorted, 0.99));
  }
  if (times.length > 0) {
    const sorted = Float64Array.from(times).sort();
    receipt.standstillP50 = durationFromMs(quantile(sorted, 0.5));
    receipt.standstillP99 = durationFromMs(quantile(sorted, 0.99));
    receipt.standstillMax = durationFromMs(quantile(sorted, 1));
  }
  if (last !== undefined) receipt.allStandingTime = timestampFromMs(last);
  return receipt;
}

function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * q) - 1)] ?? 0;
}
