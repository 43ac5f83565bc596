import { create, fromJson } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ApprovalSchema,
  BrakeSchema,
  type Brake as BrakeView,
  ReleaseSchema,
  SelectorSchema,
  Brake_State as State,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { BrakeState } from "../store/brake.ts";
import type { SeenBrake } from "./brake-sight.ts";
import { expireTimeOf } from "./expiry.ts";
import type { Gates } from "./gates.ts";
import { holds } from "./halt.ts";
import type { Outages } from "./outages.ts";
import { fleetReceipt } from "./receipt.ts";

const states: Record<BrakeState, State> = {
  AWAITING_APPROVAL: State.AWAITING_APPROVAL,
  ENGAGED: State.ENGAGED,
  RELEASED: State.RELEASED,
  EXPIRED: State.EXPIRED,
};

/** The stored name of a state of the interface. */
export const stateNames: Readonly<Partial<Record<State, BrakeState>>> = {
  [State.AWAITING_APPROVAL]: "AWAITING_APPROVAL",
  [State.ENGAGED]: "ENGAGED",
  [State.RELEASED]: "RELEASED",
  [State.EXPIRED]: "EXPIRED",
};

/** What a brake is seen beside: gates that are attached, and engines that do not answer. */
export interface Surroundings {
  readonly gates: Gates;
  readonly outages: Outages;
}

/** A brake as a caller sees it, with the receipt over those of its holds that they may see. */
export function brakeViewOf(seen: SeenBrake, { gates, outages }: Surroundings): BrakeView {
  const { brake, holds: all, whole } = seen;
  const result = create(BrakeSchema, {
    brakeId: brake.brakeId,
    includeDescendants: brake.includeDescendants,
    state: states[brake.state],
    reason: brake.reason,
    ticket: brake.ticket,
    emergency: brake.emergency,
    engagedBy: brake.engagedBy,
    createTime: timestampFromMs(brake.createTime),
    auditEntryId: brake.engageEntryId,
    receipt: fleetReceipt(
      whole ? brake : { ...brake, gates: [] },
      all,
      new Set(gates.attached().map(({ gate }) => gate)),
      { away: outages.of(seen), hidden: outages.hidesFrom(brake) },
    ),
  });
  if (whole) result.selector = fromJson(SelectorSchema, brake.selector);
  if (brake.engageTime !== undefined) result.engageTime = timestampFromMs(brake.engageTime);
  const expireTime = expireTimeOf(brake);
  if (expireTime !== undefined) result.expireTime = timestampFromMs(expireTime);
  const { approval, release } = brake;
  if (approval) {
    result.approval = create(ApprovalSchema, {
      ...(whole && { matched: approval.matched, setHash: approval.setHash, tolerance: approval.tolerance }),
      approvedBy: approval.approvedBy,
    });
    if (approval.approveTime !== undefined) result.approval.approveTime = timestampFromMs(approval.approveTime);
    if (approval.approveBy !== undefined) result.approval.approveBy = timestampFromMs(approval.approveBy);
  }
  if (release) {
    const remaining = all.filter((hold) => holds({ brake, hold }) || !hold.halt.settled).length;
    result.release = create(ReleaseSchema, {
      releasedBy: release.by,
      reason: release.reason,
      releaseTime: timestampFromMs(release.time),
      released: all.length - remaining,
      remaining,
      haltedBecause: whole || release.haltedBecause === "" ? release.haltedBecause : "released workflows failed",
    });
    if (release.staged) {
      const { percent, watchMs, maxFailures } = release.staged;
      result.release.staged = {
        $typeName: "missioncontrol.v1.StagedRelease",
        percent,
        watch: durationFromMs(watchMs),
        maxFailures,
      };
    }
  }
  return result;
}
