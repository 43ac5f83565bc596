import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BrakeSchema, type FleetReceiptSchema, Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";

/** 08:35:12.400Z */
export const requestMs = Date.UTC(2026, 10, 22, 8, 35, 12, 400);

const ms = (value: number) => ({ seconds: 0n, nanos: value * 1_000_000 });

/** All 12 of a fleet stand 740 ms after the request. */
export const allStanding = {
  requestTime: timestampFromMs(requestMs),
  matched: 12,
  standing: 12,
  descendants: 2,
  caughtLater: 1,
  acceptP50: ms(12),
  acceptP99: ms(80),
  standstillP50: ms(340),
  standstillP99: ms(700),
  standstillMax: ms(740),
  allStandingTime: timestampFromMs(requestMs + 740),
  stepsInFlight: 5,
  stepsFinished: 4,
  stepsRerun: 1,
} satisfies MessageInitShape<typeof FleetReceiptSchema>;

/** 5 of them stand, and one gate of two has confirmed. */
export const halting = {
  requestTime: timestampFromMs(requestMs),
  matched: 12,
  standing: 5,
  halting: 6,
  pending: 1,
  gates: [
    { gate: "refunds-1", attached: true, ackTime: timestampFromMs(requestMs + 20) },
    { gate: "refunds-2", attached: true },
  ],
} satisfies MessageInitShape<typeof FleetReceiptSchema>;

/** A brake of alice's as a server might show it. */
export function brake(more: MessageInitShape<typeof BrakeSchema> = {}) {
  return create(BrakeSchema, {
    brakeId: "br_1",
    selector: { types: ["RefundAgent"], labels: ["risk=high"] },
    includeDescendants: true,
    state: State.ENGAGED,
    reason: "pays twice, INC-42",
    engagedBy: "alice",
    createTime: timestampFromMs(requestMs),
    engageTime: timestampFromMs(requestMs),
    auditEntryId: "ae_1",
    ...more,
  } as MessageInitShape<typeof BrakeSchema>);
}
