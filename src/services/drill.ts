import { create } from "@bufbuild/protobuf";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type Drill,
  type DrillBrakeRequest,
  type DrillBrakeResponse,
  DrillBrakeResponseSchema,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Drills } from "../brakes/drill.ts";
import { MissionControlError } from "../errors.ts";
import { reachOf } from "../interceptors/authorize.ts";
import type { Reach } from "../policy/reach.ts";
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
  const reach = reachOf(call);
  const engine = request.engine || (drills.engines.find((one) => reach.coversEngine(one)) ?? "");
  if (reach.isLimited && !reach.coversEngine(engine)) {
    throw new MissionControlError(
      "ROLE_DENIED",
      "a drill starts a canary and brakes it: that is for those whose roles reach all workflows of its engine",
      { metadata: { permission: "brakes.engage", roles: principal.roles.join(",") } },
    );
  }
  const drill = await drills.run({
    engine,
    reason: request.reason,
    subject: principal.subject,
    entryId,
    waitMs: request.wait ? durationMs(request.wait) : defaultDrillWaitMs,
    signal: context.signal,
  });
  call.brakeId = drill.brakeId;
  return create(DrillBrakeResponseSchema, { drill, auditEntryId: entryId });
}

/** The last drills on the engines that are wholly within reach: a drill tells of its canary. */
export function drillsWithin(drills: Drills, reach: Reach): Drill[] {
  return drills.last.filter(({ engine }) => reach.coversEngine(engine));
}

/** In health: degraded while the last drill on an engine was not ok. */
export function drillComponent(drills: Drills): Component {
  return {
    name: "drill",
    check: (_signal, reach) => {
      const last = drillsWithin(drills, reach);
      const failed = last.find(({ ok }) => !ok);
      const shown = failed ?? last.at(-1);
      if (shown === undefined) return { status: "healthy", message: "none yet" };
      const time = shown.startTime ? timestampDate(shown.startTime).toISOString() : "";
      return { status: failed ? "degraded" : "healthy", message: `${time} on ${shown.engine}: ${shown.message}` };
    },
  };
}
