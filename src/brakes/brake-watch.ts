import { setTimeout as delay } from "node:timers/promises";
import { create, equals } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  BrakedWorkflowSchema,
  BrakeSchema,
  type Brake as BrakeView,
  WatchBrakeResponse_Kind as Kind,
  type WatchBrakeResponse,
  WatchBrakeResponseSchema,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Reach } from "../policy/reach.ts";
import type { Hold } from "../store/brake.ts";
import { seenWithin } from "./brake-sight.ts";
import { brakeViewOf, type Surroundings } from "./brake-view.ts";
import type { Brakes } from "./brakes.ts";
import { brakeNotFound } from "./fleet.ts";
import { receiptOf } from "./view.ts";

/** Workflows in one event, at most. */
const perEvent = 1_000;
/** At most 10 events a second, and a sign of life after 15 s of silence. */
const pace = { eventMs: 100, heartbeatMs: 15_000 } as const;

/**
 * A brake's progress as far as it is within reach: at once, then whenever it changes, until it is over or the signal aborts.
 * Throws BRAKE_NOT_FOUND.
 */
export async function* watchBrake(
  brakes: Brakes,
  surroundings: Surroundings,
  brakeId: string,
  includeWorkflows: boolean,
  reach: Reach,
  signal: AbortSignal,
): AsyncGenerator<WatchBrakeResponse> {
  let changed = new AbortController();
  const off = brakes.onChange(({ brakeIds }) => {
    if (brakeIds.has(brakeId)) changed.abort();
  });
  const offOutages = surroundings.outages.onChange(() => changed.abort());
  const told = new Map<string, string>();
  let warned = false;
  let shown: BrakeView | undefined;
  let toldTime = 0;
  try {
    while (!signal.aborted) {
      changed = new AbortController();
      const found = await brakes.find(brakeId);
      const seen = found && seenWithin(reach, found);
      if (!seen) throw brakeNotFound(brakeId);
      const { brake, holds } = seen;
      const over = brakes.active(brakeId) === undefined;
      const kind = over ? Kind.OVER : brake.expiryWarned && !warned ? Kind.EXPIRES_SOON : Kind.PROGRESS;
      warned = brake.expiryWarned;
      let changes = includeWorkflows ? news(holds, told) : [];
      // A thousand in each event, until all are told.
      for (; changes.length === perEvent; changes = news(holds, told)) {
        yield eventOf(Kind.PROGRESS, brakeViewOf(seen, surroundings), holds, changes);
      }
      const before = shown;
      shown = brakeViewOf(seen, surroundings);
      // What happens beyond reach is not even told as a change of nothing.
      const isNews = kind !== Kind.PROGRESS || changes.length > 0 || !before || !equals(BrakeSchema, before, shown);
      const silent = performance.now() - toldTime >= pace.heartbeatMs;
      if (isNews || !reach.isLimited) yield eventOf(kind, shown, holds, changes);
      else if (silent) yield eventOf(Kind.HEARTBEAT, shown, holds, []);
      if (isNews || silent) toldTime = performance.now();
      if (over) return;
      await delay(pace.eventMs, undefined, { signal }).catch(() => undefined);
      while (!changed.signal.aborted && !signal.aborted) {
        const waiting = AbortSignal.any([changed.signal, signal]);
        const silent = await delay(pace.heartbeatMs, true, { signal: waiting }).catch(() => false);
        if (silent) yield eventOf(Kind.HEARTBEAT, brakeViewOf(seen, surroundings), holds, []);
      }
    }
  } finally {
    off();
    offOutages();
  }
}

function eventOf(kind: Kind, brake: BrakeView, seen: readonly Hold[], changed: readonly Hold[]): WatchBrakeResponse {
  // Only what is seen is told, the parent through which something was caught as well.
  const ids = new Set(changed.length > 0 ? seen.map(({ workflowId }) => workflowId) : []);
  return create(WatchBrakeResponseSchema, {
    kind,
    brake,
    workflows: changed.map((hold) =>
      create(BrakedWorkflowSchema, {
        workflowId: hold.workflowId,
        catchTime: timestampFromMs(hold.catchTime),
        caughtThrough: ids.has(hold.caughtThrough) ? hold.caughtThrough : "",
        haltReceipt: receiptOf(hold),
        ended: hold.ended,
      }),
    ),
    eventTime: timestampFromMs(Date.now()),
  });
}

/** Those that were caught, came to stand, moved or ended since they were told before. At most 1,000 in one event. */
function news(holds: readonly Hold[], told: Map<string, string>): Hold[] {
  const changed: Hold[] = [];
  for (const hold of holds) {
    if (changed.length === perEvent) break;
    const { standstillTime, settled, steps } = hold.halt;
    const state = `${standstillTime} ${settled} ${hold.ended} ${steps !== undefined}`;
    if (told.get(hold.workflowId) === state) continue;
    told.set(hold.workflowId, state);
    changed.push(hold);
  }
  return changed;
}
