import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { WatchWorkflowsResponse_Kind as Kind, MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { call, doorOf, doorsOf, readToEnd, readUntil } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { entriesOf, toldOf } from "./ledger.ts";

const { watchWorkflows, pauseWorkflow, getHealth } = MissionControl.method;

let engine: TestEngine;
let server: TestServer;
let token: string;
beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(() => engine?.stop());
beforeEach(async () => {
  server = await startTestServer(engine.adminSocket);
  token = await server.token();
});
afterEach(() => server?.stop());

/** Asks for a pause and for its standstill, of a workflow with a step of so many ms in flight; resolves when it is under way. */
async function pausing(protocol: "grpc" | "rest", stepMs: number) {
  const invocation = await engine.start("Steps/run", { count: 3, ms: stepMs });
  await engine.steps.untilStep(invocation, "step-1");
  const callId = randomUUID();
  const workflowId = `restate:${invocation}`;
  const request = { workflowId, reason: "at the last moment", wait: durationFromMs(20_000) };
  const answer = call(doorOf(pauseWorkflow, protocol), server.url, request, { token, callId });
  await expect.poll(() => toldOf(server, callId)).toEqual(["INTENT"]);
  await expect
    .poll(async () => (await server.control.getWorkflow({ workflowId })).workflow?.status)
    .toBe(Status.PAUSING);
  return { workflowId, invocation, callId, answer };
}

/** The error code of a new connection; undefined where it is taken. */
async function connectionError(): Promise<string | undefined> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  try {
    await once(socket, "connect");
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  } finally {
    socket.destroy();
  }
}

test("a shutdown ends streams at once, lets calls in flight end, takes no new ones, and is in the ledger", async () => {
  const streams = doorsOf(watchWorkflows).map((door) => {
    const callId = randomUUID();
    return { name: door.name, callId, events: door.open(server.url, {}, { token, callId }) };
  });
  await Promise.all(streams.map(({ events }) => readUntil(events, ({ kind }) => kind === Kind.SNAPSHOT_END)));
  const calls = await Promise.all([pausing("grpc", 1_500), pausing("rest", 1_500)]);
  const order: string[] = [];
  const answers = calls.map(({ answer }) => answer.finally(() => order.push("call")));

  const closed = server.close(10_000).then(() => order.push("server"));
  const endings = await Promise.all(streams.map(({ events }) => readToEnd(events)));
  for (const [i, ending] of endings.entries()) {
    expect(ending, streams[i]?.name).toMatchObject({ code: "UNAVAILABLE", reason: "SHUTTING_DOWN" });
  }
  order.push("streams");
  expect(await connectionError()).toBe("ECONNREFUSED");
  for (const [i, { workflowId, invocation }] of calls.entries()) {
    const answer = await answers[i];
    expect(answer).toMatchObject({ code: "OK" });
    expect(answer?.messages[0]).toMatchObject({ workflowId, newStatus: Status.PAUSED });
    expect(engine.steps.inFlight(invocation)).toEqual([]);
  }
  await closed;
  expect(order).toEqual(["streams", "call", "call", "server"]);

  await server.start();
  const { entries } = await server.audit.listAuditEntries({ action: ["server.started", "server.stopped"] });
  expect(entries.map(({ action }) => action)).toEqual(["server.started", "server.stopped", "server.started"]);
  expect(entries[0]?.message).toContain("0 open intents");
  const stopped = Number(entries[1]?.sequence);
  for (const { callId, name } of streams) {
    expect(await toldOf(server, callId), name).toEqual(["READ", "OUTCOME SHUTTING_DOWN"]);
    expect(Number((await entriesOf(server, callId)).at(-1)?.sequence), name).toBeLessThan(stopped);
  }
  for (const { callId, workflowId } of calls) {
    expect(await toldOf(server, callId)).toEqual(["INTENT", "OUTCOME OK"]);
    expect(Number((await entriesOf(server, callId)).at(-1)?.sequence)).toBeLessThan(stopped);
    // What is braked stays braked.
    expect((await server.control.getWorkflow({ workflowId })).workflow).toMatchObject({
      status: Status.PAUSED,
      holds: [{ reason: "at the last moment", engagedBy: "alice" }],
    });
  }
});

test("a call that outlives the grace is cut off, but the brake that it engaged holds", async () => {
  const { workflowId, invocation, callId, answer } = await pausing("grpc", 1_500);
  const began = performance.now();
  await server.close(200);
  expect(performance.now() - began).toBeLessThan(1_400);
  expect(await answer).toMatchObject({ code: "UNAVAILABLE" });

  await server.start();
  await expect
    .poll(async () => (await server.control.getWorkflow({ workflowId })).workflow?.status, { timeout: 5_000 })
    .toBe(Status.PAUSED);
  expect(engine.steps.of(invocation, "step-2")).toEqual([]);
  // Its intent is not left open: the call's own outcome, or what the next start found out.
  const [intent, ...ends] = await entriesOf(server, callId);
  const { entries: settled } = await server.audit.listAuditEntries({ target: workflowId, phase: [Phase.OUTCOME] });
  const outcomes = [...ends, ...settled].filter(({ intentEntryId }) => intentEntryId === intent?.entryId);
  expect(new Set(outcomes.map(({ entryId }) => entryId)).size).toBe(1);
});

test("an idle client's kept connection does not hold up the shutdown", async () => {
  const answer = await call(doorOf(getHealth, "rest"), server.url, {}, { token });
  expect(answer).toMatchObject({ code: "OK" });
  await server.control.getHealth({});
  const began = performance.now();
  await server.close(10_000);
  expect(performance.now() - began).toBeLessThan(2_000);
});
