import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:http2";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fromJsonString } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  WatchWorkflowsResponse_Kind as Kind,
  MissionControl,
  type WatchWorkflowsResponse,
  WatchWorkflowsResponseSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Engine, EngineWorkflow } from "../../src/engines/engine.ts";
import { type Conversation, type Door, doorsOf, readToEnd, readUntil } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { toldOf } from "./ledger.ts";

type WatchMethod = typeof MissionControl.method.watchWorkflows;
const doors: Door<WatchMethod>[] = doorsOf(MissionControl.method.watchWorkflows);
const [grpc] = doors as [Door<WatchMethod>];
const wait = durationFromMs(15_000);
/** Between two looks of the feed at the engine. */
const pollMs = 500;

let engine: TestEngine;
let server: TestServer;
let token: string;
/** Looks for changes that the engine was asked for: how many, how many now, how many at once at the most. */
const looks = { all: 0, now: 0, peak: 0 };
/** Changes that the engine reports on top of its own. */
let flood: EngineWorkflow[] = [];

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket, { through: watched });
  token = await server.token();
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

function watched(real: Engine): Engine {
  const changedSince: Engine["changedSince"] = async (since, limit, signal) => {
    looks.all++;
    looks.peak = Math.max(looks.peak, ++looks.now);
    try {
      const rows = await real.changedSince(since, limit, signal);
      return flood.length === 0 ? rows : flood.filter(({ updateTime }) => updateTime >= since).slice(0, limit);
    } finally {
      looks.now--;
    }
  };
  return new Proxy(real, {
    get(target, name) {
      const value = name === "changedSince" ? changedSince : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const kinds = (messages: WatchWorkflowsResponse[]) => messages.map(({ kind }) => kind);
const pause = (workflowId: string) => server.control.pauseWorkflow({ workflowId, reason: "watched", wait });
const resume = (workflowId: string) => server.control.resumeWorkflow({ workflowId, reason: "watched", wait });
const shows =
  (workflowId: string, status: Status) =>
  ({ workflow }: WatchWorkflowsResponse) =>
    workflow?.workflowId === workflowId && workflow.status === status;
const isSnapshotEnd = ({ kind }: WatchWorkflowsResponse) => kind === Kind.SNAPSHOT_END;

/** Watches by a door; `leave` is the client's going away. */
function watch(
  door: Door<typeof MissionControl.method.watchWorkflows>,
  resumeToken = "",
  callId: string = randomUUID(),
) {
  const leaving = new AbortController();
  const events: Conversation<WatchMethod> = door.open(
    server.url,
    { resumeToken },
    { token, callId, signal: leaving.signal },
  );
  return {
    callId,
    events,
    async leave() {
      leaving.abort();
      await events.next().catch(() => undefined);
    },
  };
}

async function suspended(): Promise<string> {
  const id = await engine.start("SuspendedAwaiter/run");
  await engine.untilStatus(id, "suspended");
  return `restate:${id}`;
}

test("fifty watchers at once: all see every change, and one poller asks the engine", async () => {
  const workflowId = await suspended();
  const watchers = Array.from({ length: 50 }, (_, i) => watch(doors[i % doors.length] ?? grpc));
  await Promise.all(watchers.map(({ events }) => readUntil(events, isSnapshotEnd)));
  Object.assign(looks, { all: 0, peak: looks.now });
  const began = performance.now();

  // Seen by the poller, and told by the brake.
  const born = await suspended();
  await Promise.all(watchers.map(({ events }) => readUntil(events, shows(born, Status.RUNNING))));
  await pause(workflowId);
  await Promise.all(watchers.map(({ events }) => readUntil(events, shows(workflowId, Status.PAUSED))));
  await resume(workflowId);
  await Promise.all(watchers.map(({ events }) => readUntil(events, shows(workflowId, Status.RUNNING))));

  expect(looks.peak).toBe(1);
  expect(looks.all).toBeLessThanOrEqual((performance.now() - began) / pollMs + 1);
  expect(looks.all).toBeGreaterThan(0);

  await Promise.all(watchers.map(({ leave }) => leave()));
  for (const { callId } of watchers) {
    await expect.poll(() => toldOf(server, callId)).toEqual(["READ", "OUTCOME CANCELLED"]);
  }
  // Nobody watches any more: after a while, in which somebody who was cut off may come back, nobody looks.
  const resting = async () => {
    const last = looks.all;
    await delay(2 * pollMs);
    return looks.all === last;
  };
  await expect.poll(resting, { timeout: 15_000 }).toBe(true);
});

test.each(doors)("by $name: a resume token goes on behind it, without a snapshot and without a gap", async (door) => {
  const workflowId = await suspended();
  const other = watch(grpc);
  await readUntil(other.events, isSnapshotEnd);
  const first = watch(door);
  const [end] = (await readUntil(first.events, isSnapshotEnd)).slice(-1);
  expect(end?.resumeToken).not.toBe("");
  await first.leave();

  await pause(workflowId);
  await readUntil(other.events, shows(workflowId, Status.PAUSED));
  const second = watch(door, end?.resumeToken);
  const missed = await readUntil(second.events, shows(workflowId, Status.PAUSED));
  expect(new Set(kinds(missed))).toEqual(new Set([Kind.CHANGED]));
  const { resumeToken = "" } = missed.at(-1) ?? {};
  await second.leave();

  // From a change's token: that change does not come again.
  const third = watch(door, resumeToken);
  const next = readUntil(third.events, shows(workflowId, Status.RUNNING));
  await expect.poll(() => toldOf(server, third.callId)).toEqual(["READ"]);
  await resume(workflowId);
  const rest = await next;
  expect(new Set(kinds(rest))).toEqual(new Set([Kind.CHANGED]));
  // What else is found out about its standstill may: a receipt is filled in a moment later.
  expect(rest.map((change) => change.resumeToken)).not.toContain(resumeToken);
  await third.leave();
  await other.leave();
});

test("a browser that reconnects says Last-Event-ID, and goes on there", async () => {
  const workflowId = await suspended();
  const other = watch(grpc);
  const [end] = (await readUntil(other.events, isSnapshotEnd)).slice(-1);
  await pause(workflowId);
  await readUntil(other.events, shows(workflowId, Status.PAUSED));
  const leaving = new AbortController();
  const response = await fetch(`${server.url}/v1/events`, {
    headers: {
      authorization: `Bearer ${token}`,
      accept: "text/event-stream",
      "last-event-id": end?.resumeToken ?? "",
    },
    signal: leaving.signal,
  });
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes('"PAUSED"')) break;
  }
  leaving.abort();
  expect(text).toMatch(/^event: CHANGED\nid: \S+\ndata: \{/);
  expect(text).not.toContain("SNAPSHOT");
  await other.leave();
});

test("after a restart of the server, an old token brings a new snapshot", async () => {
  const before = watch(grpc);
  const [end] = (await readUntil(before.events, isSnapshotEnd)).slice(-1);
  await before.leave();
  await server.restart();
  const workflowId = await suspended();
  for (const door of doors) {
    const after = watch(door, end?.resumeToken);
    const events = await readUntil(after.events, isSnapshotEnd);
    expect(events[0]?.kind).toBe(Kind.SNAPSHOT_BEGIN);
    expect(events.some(shows(workflowId, Status.RUNNING))).toBe(true);
    expect(events.at(-1)?.resumeToken.split(".")[0]).not.toBe(end?.resumeToken.split(".")[0]);
    await after.leave();
  }
});

test("a watcher of one status is told once more when a workflow leaves it", async () => {
  const workflowId = await suspended();
  const leaving = new AbortController();
  const events = grpc.open(
    server.url,
    { status: [Status.PAUSED], type: ["SuspendedAwaiter"] },
    { token, signal: leaving.signal },
  );
  const snapshot = await readUntil(events, isSnapshotEnd);
  expect(snapshot.some(({ workflow }) => workflow?.workflowId === workflowId)).toBe(false);
  await pause(workflowId);
  const seen = await readUntil(events, shows(workflowId, Status.PAUSED));
  expect(seen.filter(({ workflow }) => workflow?.workflowId === workflowId)).toHaveLength(1);
  await resume(workflowId);
  const its = ({ workflow }: WatchWorkflowsResponse) => workflow?.workflowId === workflowId;
  const left = await readUntil(events, (change) => its(change) && change.workflow?.status !== Status.PAUSED);
  // Before that at most that its receipt was filled in.
  expect(left.filter((change) => its(change) && change.workflow?.status !== Status.PAUSED)).toHaveLength(1);
  leaving.abort();
});

test.concurrent.each(doors)("by $name: a stream ends when its token does", async (door) => {
  const callId = randomUUID();
  const short = await server.issuer.signDevToken({ subject: "alice", roles: ["viewer"], expiresIn: 2 });
  const events = door.open(server.url, {}, { token: short, callId });
  const ending = await readToEnd(events);
  expect(kinds(ending.messages)).toContain(Kind.SNAPSHOT_END);
  expect(ending).toMatchObject({ code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED" });
  await expect.poll(() => toldOf(server, callId)).toEqual(["READ", "OUTCOME TOKEN_EXPIRED"]);
});

/** A watcher that opens no window: the server can send it nothing until it does, and is stuck within its snapshot. */
async function stuckWatcher(callId: string = randomUUID()) {
  // More than what Node buffers for a stream: 64 KiB.
  const { workflows } = await server.control.listWorkflows({ type: ["SuspendedAwaiter"], pageSize: 200 });
  await Promise.all(Array.from({ length: 200 - workflows.length }, () => engine.start("SuspendedAwaiter/run")));
  const session = connect(server.url, { settings: { initialWindowSize: 0 } });
  session.on("error", () => {});
  await once(session, "remoteSettings");
  const stream = session.request({
    ":path": "/v1/events?type=SuspendedAwaiter",
    authorization: `Bearer ${token}`,
    "x-request-id": callId,
  });
  await once(stream, "response");
  return {
    callId,
    /** Begins to read: the lines, as they come. */
    lines() {
      session.settings({ initialWindowSize: 1 << 20 });
      return createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
    },
    leave: () => session.destroy(),
  };
}

test("a watcher that never reads holds up nobody, and keeps one line per workflow, however often it changes", async () => {
  const workflowId = await suspended();
  const healthy = watch(grpc);
  await readUntil(healthy.events, isSnapshotEnd);
  const stuck = await stuckWatcher();
  for (let round = 0; round < 4; round++) {
    await pause(workflowId);
    await readUntil(healthy.events, shows(workflowId, Status.PAUSED));
    await resume(workflowId);
    await readUntil(healthy.events, shows(workflowId, Status.RUNNING));
  }
  await pause(workflowId);
  await readUntil(healthy.events, shows(workflowId, Status.PAUSED));

  let snapshotEnded = false;
  const changes: WatchWorkflowsResponse[] = [];
  for await (const line of stuck.lines()) {
    const event = fromJsonString(WatchWorkflowsResponseSchema, line);
    if (isSnapshotEnd(event)) snapshotEnded = true;
    if (event.kind === Kind.CHANGED && event.workflow?.workflowId === workflowId) changes.push(event);
    if (snapshotEnded && shows(workflowId, Status.PAUSED)(event)) break;
  }
  expect(changes).toHaveLength(1);
  stuck.leave();
  await expect.poll(() => toldOf(server, stuck.callId)).toEqual(["READ", "OUTCOME CANCELLED"]);
  await healthy.leave();
  await resume(workflowId);
});

test("a watcher that misses more than is kept for it is ended with SLOW_CONSUMER, the others go on", async () => {
  const healthy = watch(grpc);
  await readUntil(healthy.events, isSnapshotEnd);
  const stuck = await stuckWatcher();
  const now = Date.now();
  flood = Array.from({ length: 10_100 }, (_, i) => ({
    id: `inv_flood${i}`,
    type: "Flood",
    name: "Flood/run",
    status: "running" as const,
    phase: "running",
    labels: {},
    parentId: undefined,
    createTime: new Date(now),
    startTime: new Date(now),
    updateTime: new Date(now + i / 10),
    endTime: undefined,
    errorMessage: "",
    dueTime: undefined,
  }));
  const last = `restate:inv_flood${flood.length - 1}`;
  await readUntil(healthy.events, ({ workflow }) => workflow?.workflowId === last);
  flood = [];

  let error: unknown;
  for await (const line of stuck.lines()) {
    const event = JSON.parse(line) as { error?: { details: { reason?: string }[] } };
    error = event.error?.details[0]?.reason;
  }
  expect(error).toBe("SLOW_CONSUMER");
  await expect.poll(() => toldOf(server, stuck.callId)).toEqual(["READ", "OUTCOME SLOW_CONSUMER"]);
  stuck.leave();

  const workflowId = await suspended();
  await readUntil(healthy.events, shows(workflowId, Status.RUNNING));
  await healthy.leave();
});
