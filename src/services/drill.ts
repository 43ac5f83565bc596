import { create } from "@bufbuild/protobuf";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type DrillBrakeRequest,
  type DrillBrakeResponse,
  DrillBrakeResponseSchema,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Drills } from "../brakes/drill.ts";
import { callerOf } from "./caller.ts";
import type { Component } from "./health.ts";

/** How long each part of a drill may take where the request does not say, ms. */
export const defaultDrillWaitMs = 10_000;

/** Brakes.DrillBrake: translate, call, translate. */
export async function drillBrake(
  drills: Drills,
  request: DrillBrakeRequest,
  context: HandlerContext,
): Promise<DrillBrakeResponse> {
  const { call, principal, entryId } = callerOf(context);
  const drill = await drills.run({
    engine: request.engine,
    reason: request.reason,
    subject: principal.subject,
    entryId,
    waitMs: request.wait ? durationMs(request.wait) : defaultDrillWaitMs,
    signal: context.signal,
  });
  call.brakeId = drill.brakeId;
  return create(DrillBrakeResponseSchema, { drill, auditEntryId: entryId });
}

/** In health: degraded while the last drill on an engine was not ok. */
export function drillComponent(drills: Drills): Component {
  return {
    name: "drill",
    check: () => {
      const failed = drills.last.find(({ ok }) => !ok);
      const shown = failed ?? drills.last.at(-1);
      if (shown === undefined) return { status: "healthy", message: "none yet" };
      const time = shown.startTime ? timestampDate(shown.startTime).toISOString() : "";
      return { status: failed ? "degraded" : "healthy", message: `${time} on ${shown.engine}: ${shown.message}` };
    },
  };
}
