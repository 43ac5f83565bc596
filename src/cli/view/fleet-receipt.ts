import type { FleetReceipt, GateAck } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { describeOutage } from "./outage.ts";
import { duration, offset, preciseClock } from "./time.ts";

/** A fleet's halt receipt in words: when it was asked for, when all stood, and what became of what was under way. */
export function fleetReceiptFields(receipt: FleetReceipt): [label: string, value: string | undefined][] {
  const { requestTime, matched } = receipt;
  const requested = requestTime && `${preciseClock(requestTime)} the brake was durably engaged`;
  if (matched === 0) {
    return [
      ["requested", requested],
      ["matched", "none yet; what matches later is caught"],
      ["NOT REACHED", describeOutages(receipt)],
      ["gates", describeGates(receipt.gates)],
    ];
  }
  return [
    ["requested", requested],
    ["matched", describeMatched(receipt)],
    ["NOT REACHED", describeOutages(receipt)],
    [
      "accepted",
      quantiles([
        ["p50", receipt.acceptP50],
        ["p99", receipt.acceptP99],
      ]) || "not yet by the engine",
    ],
    [
      "standstill",
      quantiles([
        ["p50", receipt.standstillP50],
        ["p99", receipt.standstillP99],
        ["max", receipt.standstillMax],
      ]) || "none seen yet",
    ],
    ["all standing", describeAllStanding(receipt)],
    ["in flight", describeInFlight(receipt)],
    ["on resume", receipt.stepsRerun > 0 ? `${steps(receipt.stepsRerun)} RUN AGAIN` : undefined],
    ["steps after", `${receipt.stepsStartedAfterAccept} started after the engine accepted`],
    ["NOT KNOWN", describeUnread(receipt)],
    ["gates", describeGates(receipt.gates)],
  ];
}

function describeOutages({ unreachableEngines }: FleetReceipt): string | undefined {
  return unreachableEngines.length === 0 ? undefined : unreachableEngines.map(describeOutage).join("\n");
}

/** The gates that have not confirmed that they hold, in words; undefined where all have, or there are none. */
export function silentGates(gates: readonly GateAck[]): string | undefined {
  const silent = gates.filter((gate) => gate.ackTime === undefined);
  if (silent.length === 0) return undefined;
  return silent.map(({ gate, attached }) => (attached ? gate : `${gate} (detached)`)).join(", ");
}

function describeMatched(receipt: FleetReceipt): string {
  const { matched, standing, halting, pending, ended, descendants, caughtLater, missedAtFirst } = receipt;
  const of = [
    `${standing} standing`,
    ...(halting > 0 ? [`${halting} still halting`] : []),
    ...(pending > 0 ? [`${pending} pending (not begun, or the engine was not asked yet)`] : []),
    ...(ended > 0 ? [`${ended} ended`] : []),
  ];
  const caught = [
    ...(descendants > 0 ? [`${descendants} as descendants`] : []),
    ...(caughtLater > 0 ? [`${caughtLater} after it was engaged`] : []),
    ...(missedAtFirst > 0 ? [`${missedAtFirst} that were open before and could not be reached at first`] : []),
  ];
  return `${matched}: ${of.join(", ")}${caught.length > 0 ? `\ncaught ${caught.join(", ")}` : ""}`;
}

function describeAllStanding({ requestTime, allStandingTime, matched, caughtLater }: FleetReceipt): string {
  if (allStandingTime === undefined) return "NOT YET SEEN";
  if (matched === caughtLater) return "nothing was there when it was engaged";
  const after = requestTime ? ` (${offset(requestTime, allStandingTime)})` : "";
  return `${preciseClock(allStandingTime)}${after} all that were there when it was engaged`;
}

function quantiles(values: readonly (readonly [name: string, value: FleetReceipt["acceptP50"]])[]): string {
  return values.flatMap(([name, value]) => (value ? [`${name} ${duration(value)}`] : [])).join(", ");
}

function describeUnread({ journalsUnread: count }: FleetReceipt): string | undefined {
  return count > 0 ? `the steps of ${count}: their journals have not been read` : undefined;
}

function describeInFlight({ stepsInFlight, stepsFinished }: FleetReceipt): string {
  if (stepsInFlight === 0) return "no step when they were caught";
  return `${steps(stepsInFlight)} when they were caught; ${stepsFinished} finished, results kept`;
}

function describeGates(gates: readonly GateAck[]): string | undefined {
  if (gates.length === 0) return undefined;
  const silent = silentGates(gates);
  const holding = gates.filter((gate) => gate.ackTime !== undefined).length;
  return `${holding} of ${gates.length} confirmed that they hold${silent ? `\nNO ANSWER from ${silent}` : ""}`;
}

function steps(count: number): string {
  return `${count} step${count === 1 ? "" : "s"}`;
}
