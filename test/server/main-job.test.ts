import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ComponentHealth_Status as ComponentStatus,
  WatchWorkflowsResponse_Kind as Kind,
  MissionControl,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import {
  TraceEntry_Kind as EntryKind,
  TraceEntry_KindSchema as EntryKindSchema,
  TraceEntry_Outcome as Outcome,
  TraceEntry_OutcomeSchema as OutcomeSchema,
  Workflow_Status as Status,
  Workflow_StatusSchema as StatusSchema,
  type TraceEntry,
  type Workflow,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type Answer, type Door, doorOf, doorsOf, readToEnd, readUntil, type Sent } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { toldOf } from "./ledger.ts";

const { listWorkflows, getWorkflow, getWorkflowTrace, watchWorkflows, pauseWorkflow, resumeWorkflow, getHealth } =
  MissionControl.method;
const wait = durationFromMs(15_000);
/** Longer than any step of the agents used here. */
const lookMs = 400;

let engine: TestEngine;
let server: TestServer;
let token: string;
/** Workflows in every state that stays, by what they are. */
const ids = { done: "", failed: "", sleeper: "", head: "", queued: "", later: "", parent: "", long: "" };

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket);
  token = await server.token();
  const start = async (name: keyof typeof ids, ...args: Parameters<TestEngine["start"]>) => {
    ids[name] = `restate:${await engine.start(...args)}`;
    // Each in a millisecond of its own, so that the order of the list is known.
    await delay(2);
  };
  await start("done", "Steps/run", { count: 3, ms: 60 });
  await start("failed", "Failing/run");
  await start("sleeper", "Sleeper/run", { ms: 120_000 });
  await start("head", "Queue/a/work", { count: 1, ms: 120_000 });
  await start("queued", "Queue/a/work");
  await start("later", "Steps/run", {}, { delayMs: 120_000 });
  await start("parent", "Parent/run", { count: 2, ms: 20 });
  await start("long", "Steps/run", { count: 1, ms: 120_000 });
  for (const name of ["done", "failed", "parent"] as const) await engine.untilStatus(own(ids[name]), "completed");
  await engine.untilStatus(own(ids.queued), "pending");
  await engine.steps.untilStep(own(ids.sleeper), "step-1", "end");
  await engine.steps.untilStep(own(ids.long), "step-1");
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

function own(workflowId: string): string {
  return workflowId.replace(/^restate:/, "");
}

/** Calls by a door, as alice, and expects success. */
async function through<M extends DescMethod>(
  door: Door<M>,
  request: MessageInitShape<M["input"]>,
  sent: Sent = {},
): Promise<MessageShape<M["output"]>> {
  const answer = await readToEnd(door.open(server.url, request, { token, ...sent }));
  expect(answer).toMatchObject({ code: "OK", message: "" });
  const [message] = answer.messages;
  if (message === undefined || answer.messages.length > 1) throw new Error(`${answer.messages.length} messages`);
  return message;
}

/** Calls by a door, as alice, and gives back how it ended. */
function failing<M extends DescMethod>(door: Door<M>, request: MessageInitShape<M["input"]>): Promise<Answer<M>> {
  return readToEnd(door.open(server.url, request, { token }));
}

const summary = ({ kind, name, outcome }: TraceEntry) =>
  `${EntryKindSchema.value[kind]?.name} ${name} ${OutcomeSchema.value[outcome]?.name}`;
const shown = ({ workflowId, status }: Workflow) => `${workflowId} ${StatusSchema.value[status]?.name}`;

/** Between two moments, ms. */
function dueIn(from: Timestamp | undefined, due: Timestamp | undefined): number {
  return from && due ? timestampMs(due) - timestampMs(from) : Number.NaN;
}

describe.each(["grpc", "grpc-web", "connect", "rest"] as const)("by %s", (protocol) => {
  const ask = <M extends DescMethod>(method: M, request: MessageInitShape<M["input"]>, sent?: Sent) =>
    through(doorOf(method, protocol), request, sent);
  const list = async (request: MessageInitShape<typeof listWorkflows.input>) =>
    (await ask(listWorkflows, request)).workflows.map(({ workflowId }) => workflowId);

  test("list: the newest first, by status, type, engine, label and time", async () => {
    const { sleeper, done, failed, head, queued, later, long } = ids;
    const all = await list({ pageSize: 500 });
    expect(all.filter((id) => Object.values(ids).includes(id))).toEqual(Object.values(ids).reverse());

    expect(await list({ status: [Status.FAILED] })).toEqual([failed]);
    expect(await list({ status: [Status.PENDING] })).toEqual([later, queued]);
    const both = await list({ status: [Status.FAILED, Status.COMPLETED] });
    expect(both).toEqual(expect.arrayContaining([done, failed]));
    expect(both).not.toContain(sleeper);
    expect(await list({ type: ["Sleeper"] })).toEqual([sleeper]);
    expect(await list({ type: ["Sleeper", "Failing"] })).toEqual([sleeper, failed]);
    expect(await list({ engine: ["restate"], type: ["Queue"] })).toEqual([queued, head]);
    expect(await list({ label: ["key=a"] })).toEqual([queued, head]);
    expect(await list({ label: ["owner=test-team", "handler=run"], status: [Status.PENDING] })).toEqual([later]);
    expect(await list({ label: ["owner=nobody"] })).toEqual([]);
    expect(await list({ label: ["key=a=b"] })).toEqual([]);

    const { workflow } = await ask(getWorkflow, { workflowId: long });
    const at = workflow?.createTime ? timestampMs(workflow.createTime) : 0;
    const since = { createdAfter: timestampFromMs(at) };
    expect(await list({ ...since, createdBefore: timestampFromMs(at + 1) })).toEqual([long]);
    expect(await list({ ...since, createdBefore: timestampFromMs(at) })).toEqual([]);
  });

  test("get: by the full id and by the engine's own", async () => {
    const { workflow } = await ask(getWorkflow, { workflowId: ids.long });
    expect(workflow).toMatchObject({
      workflowId: ids.long,
      engine: "restate",
      type: "Steps",
      name: "Steps/run",
      status: Status.RUNNING,
      labels: { owner: "test-team", risk: "low", service: "Steps", handler: "run" },
      owner: "test-team",
      currentStep: "step-1",
      completedSteps: 0,
      holds: [],
      parentWorkflowId: "",
    });
    expect(workflow?.endTime).toBeUndefined();
    expect((await ask(getWorkflow, { workflowId: own(ids.long) })).workflow).toMatchObject({
      workflowId: ids.long,
      etag: workflow?.etag,
    });
    const done = (await ask(getWorkflow, { workflowId: ids.done })).workflow;
    expect(done).toMatchObject({ status: Status.COMPLETED, completedSteps: 3 });
    expect(done?.endTime).toBeDefined();
    expect((await ask(getWorkflow, { workflowId: ids.failed })).workflow).toMatchObject({
      status: Status.FAILED,
      errorMessage: expect.stringContaining("out of budget"),
    });
    const later = (await ask(getWorkflow, { workflowId: ids.later })).workflow;
    expect(dueIn(later?.createTime, later?.dueTime)).toBeCloseTo(120_000, -3);
  });

  test("trace: the steps in their order with durations, what is in flight, children", async () => {
    const done = await ask(getWorkflowTrace, { workflowId: ids.done });
    expect(done.entries.map(summary)).toEqual([
      "STARTED input OUTCOME_UNSPECIFIED",
      "STEP step-1 SUCCEEDED",
      "STEP step-2 SUCCEEDED",
      "STEP step-3 SUCCEEDED",
      "ENDED output SUCCEEDED",
    ]);
    expect(done.inFlight).toEqual([]);
    expect(done.entries.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    for (const { duration, startTime, endTime } of done.entries.slice(1, 4)) {
      const ms = duration ? durationMs(duration) : 0;
      expect(ms).toBeGreaterThanOrEqual(50);
      expect(ms).toBeLessThan(2_000);
      expect(startTime && endTime && timestampMs(endTime) - timestampMs(startTime)).toBe(ms);
    }

    const long = await ask(getWorkflowTrace, { workflowId: ids.long });
    expect(long.inFlight.map(summary)).toEqual(["STEP step-1 IN_FLIGHT"]);
    expect(long.inFlight[0]?.endTime).toBeUndefined();
    expect(long.inFlight[0]?.duration).toBeUndefined();

    const sleeper = await ask(getWorkflowTrace, { workflowId: ids.sleeper });
    expect(sleeper.inFlight.map(({ kind }) => kind)).toEqual([EntryKind.SLEEP]);
    const [sleep] = sleeper.inFlight;
    expect(dueIn(sleep?.startTime, sleep?.dueTime)).toBeCloseTo(120_000, -3);

    const parent = await ask(getWorkflowTrace, { workflowId: ids.parent });
    const call = parent.entries.find(({ kind }) => kind === EntryKind.CALL);
    expect(call).toMatchObject({ name: "Steps/run", outcome: Outcome.SUCCEEDED });
    const child = (await ask(getWorkflow, { workflowId: call?.childWorkflowId ?? "" })).workflow;
    expect(child).toMatchObject({ type: "Steps", status: Status.COMPLETED, parentWorkflowId: ids.parent });
  });

  test("trace: page by page it is the same, and every page tells what is in flight", async () => {
    const whole = await ask(getWorkflowTrace, { workflowId: ids.sleeper });
    expect(whole.entries.length).toBeGreaterThan(2);
    const entries: TraceEntry[] = [];
    let pageToken = "";
    do {
      const page = await ask(getWorkflowTrace, { workflowId: ids.sleeper, pageSize: 2, pageToken });
      expect(page.entries.length).toBeLessThanOrEqual(2);
      expect(page.inFlight).toEqual(whole.inFlight);
      entries.push(...page.entries);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(entries).toEqual(whole.entries);
  });

  test("the job: watch, pause until it stands, look why, resume until it moves", async () => {
    const invocation = await engine.start("Steps/run", { count: 400, ms: 50 });
    const workflowId = `restate:${invocation}`;
    await engine.steps.untilStep(invocation, "step-1");
    const leave = new AbortController();
    const watch = doorOf(watchWorkflows, protocol).open(
      server.url,
      { type: ["Steps"], label: ["owner=test-team"] },
      { token, signal: leave.signal },
    );
    const snapshot = await readUntil(watch, ({ kind }) => kind === Kind.SNAPSHOT_END);
    expect(snapshot[0]?.kind).toBe(Kind.SNAPSHOT_BEGIN);
    const inSnapshot = snapshot.slice(1, -1);
    expect(new Set(inSnapshot.map(({ kind }) => kind))).toEqual(new Set([Kind.SNAPSHOT]));
    expect(inSnapshot.map(({ workflow }) => workflow && shown(workflow))).toContain(`${workflowId} RUNNING`);
    expect(inSnapshot.every(({ workflow }) => workflow?.type === "Steps")).toBe(true);
    const until = (status: Status) =>
      readUntil(watch, ({ workflow }) => workflow?.workflowId === workflowId && workflow.status === status);

    const before = await ask(getHealth, {});
    const pauseToken = await server.token(["sre"], "bob");
    const callId = randomUUID();
    const paused = await ask(
      pauseWorkflow,
      { workflowId: invocation, reason: "looks wrong: „é–“ ✋", wait, emergency: true },
      { token: pauseToken, callId },
    );
    expect(paused).toMatchObject({
      workflowId,
      action: "pause",
      previousStatus: Status.RUNNING,
      newStatus: Status.PAUSED,
      controlledBy: "bob",
    });
    // Without a gate one step may start while the engine comes to its pause; whatever did is counted.
    expect(paused.haltReceipt?.stepsStartedAfterAccept).toBeLessThanOrEqual(1);
    const since = Date.now();
    expect(await toldOf(server, callId)).toEqual(["INTENT", "OUTCOME OK"]);
    const changes = await until(Status.PAUSED);
    expect(new Set(changes.map(({ kind }) => kind))).toEqual(new Set([Kind.CHANGED]));
    expect(changes.at(-1)?.resumeToken).not.toBe("");
    const held = (await ask(getWorkflow, { workflowId })).workflow;
    expect(held).toMatchObject({
      status: Status.PAUSED,
      holds: [{ brakeId: paused.brakeId, reason: "looks wrong: „é–“ ✋", engagedBy: "bob", emergency: true }],
    });
    expect(await list({ status: [Status.PAUSED] })).toEqual([workflowId]);
    await delay(lookMs);
    expect(engine.steps.startedSince(invocation, since)).toBe(0);

    const health = await ask(getHealth, {});
    expect(health).toMatchObject({
      status: ComponentStatus.HEALTHY,
      version: "test",
      devMode: true,
      pausedWorkflows: before.pausedWorkflows + 1,
      engagedBrakes: before.engagedBrakes + 1,
      pausingWorkflows: 0,
    });
    const names = health.components.map(({ name }) => name);
    expect(names.sort()).toEqual([
      "brakes",
      "engine/restate",
      "issuer/mission-control-dev",
      "ledger",
      "policy/cedar",
      "reconciler/restate",
    ]);

    const resumed = await ask(
      resumeWorkflow,
      { workflowId, reason: "false alarm", wait, etag: held?.etag ?? "" },
      { token: await server.token(["sre"], "carol") },
    );
    expect(resumed).toMatchObject({
      workflowId,
      action: "resume",
      previousStatus: Status.PAUSED,
      newStatus: Status.RUNNING,
      controlledBy: "carol",
      brakeId: paused.brakeId,
    });
    await until(Status.RUNNING);
    leave.abort();

    const { entries } = await ask(getWorkflowTrace, { workflowId });
    const control = entries.filter(({ kind }) => kind === EntryKind.CONTROL);
    expect(control.map(({ name, actor, reason }) => ({ name, actor, reason }))).toEqual([
      { name: "pause", actor: "bob", reason: "looks wrong: „é–“ ✋" },
      { name: "standstill", actor: "", reason: "" },
      { name: "resume", actor: "carol", reason: "false alarm" },
    ]);
    expect(control[0]).toMatchObject({ auditEntryId: paused.auditEntryId, brakeId: paused.brakeId });
    expect(control[2]).toMatchObject({ auditEntryId: resumed.auditEntryId, brakeId: paused.brakeId });
    const [standstill, resume] = control.slice(1).map(({ index }) => index);
    expect(entries.slice((standstill ?? 0) + 1, resume).filter(({ kind }) => kind === EntryKind.STEP)).toEqual([]);
    await engine.admin("PATCH", `/invocations/${invocation}/kill`);
  });

  test("the same request_id gets the same answer, with other content an error", async () => {
    const invocation = await engine.start("SuspendedAwaiter/run");
    const request = { workflowId: `restate:${invocation}`, reason: "once", requestId: randomUUID(), wait };
    const first = await ask(pauseWorkflow, request);
    expect(await ask(pauseWorkflow, request)).toEqual(first);
    const other = await failing(doorOf(pauseWorkflow, protocol), { ...request, reason: "twice" });
    expect(other).toMatchObject({ code: "ALREADY_EXISTS", reason: "REQUEST_ID_REUSED" });
    // Somebody else's request of the same id is another request.
    const dave = await server.token(["sre"], "dave");
    expect(await ask(pauseWorkflow, { ...request, reason: "twice" }, { token: dave })).toMatchObject({
      brakeId: first.brakeId,
      // Dave changed nothing: it is alice who holds it.
      controlledBy: "alice",
    });
    await ask(resumeWorkflow, { workflowId: request.workflowId, reason: "done", wait });
    await engine.admin("PATCH", `/invocations/${invocation}/kill`);
  });

  test("what cannot be done is refused with a reason, and nothing happens", async () => {
    const pause = doorOf(pauseWorkflow, protocol);
    const resume = doorOf(resumeWorkflow, protocol);
    const unknown = `restate:${own(ids.done).slice(0, -4)}zzzz`;
    const why = { reason: "x" };
    const status = protocol === "grpc" ? undefined : protocol === "grpc-web" ? 200 : 400;
    expect(await failing(pause, { workflowId: ids.done, ...why })).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "WORKFLOW_ENDED",
      metadata: { workflow_id: ids.done, status: "COMPLETED" },
      httpStatus: status,
    });
    expect(await failing(resume, { workflowId: ids.sleeper, ...why })).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "WORKFLOW_NOT_HELD",
    });
    expect(await failing(pause, { workflowId: ids.sleeper, etag: "stale", ...why })).toMatchObject({
      code: "ABORTED",
      reason: "ETAG_MISMATCH",
      metadata: { status: "RUNNING" },
      httpStatus: status && status === 400 ? 409 : status,
    });
    for (const workflowId of [unknown, "restate:nonsense", "nowhere:inv_1", "inv_", "' OR 1=1 --"]) {
      for (const door of [pause, doorOf(getWorkflow, protocol), doorOf(getWorkflowTrace, protocol)]) {
        expect(await failing(door as Door, { workflowId, ...(door === pause ? why : {}) } as never)).toMatchObject({
          code: "NOT_FOUND",
          reason: "WORKFLOW_NOT_FOUND",
          metadata: { workflow_id: workflowId },
          httpStatus: status && status === 400 ? 404 : status,
        });
      }
    }
    const trial = await ask(pauseWorkflow, { workflowId: ids.sleeper, validateOnly: true, ...why });
    expect(trial).toMatchObject({ newStatus: Status.RUNNING, brakeId: "" });
    expect((await ask(getWorkflow, { workflowId: ids.sleeper })).workflow).toMatchObject({
      status: Status.RUNNING,
      holds: [],
    });
  });
});

test.each(doorsOf(pauseWorkflow).filter(({ protocol }) => protocol === "rest"))(
  "$name pauses, a colon in the id",
  async (door) => {
    const invocation = await engine.start("Sleeper/run", { ms: 120_000 });
    for (const workflowId of [`restate:${invocation}`, invocation]) {
      expect(await through(door, { workflowId, reason: "by hand", wait })).toMatchObject({
        workflowId: `restate:${invocation}`,
        newStatus: Status.PAUSED,
      });
    }
    // As one types it: the colon as it is.
    const resumed = await fetch(`${server.url}/v1/workflows/restate:${invocation}:resume`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ reason: "typed", wait: "15s" }),
    });
    expect(await resumed.json()).toMatchObject({ workflowId: `restate:${invocation}`, newStatus: "RUNNING" });
    await engine.admin("PATCH", `/invocations/${invocation}/kill`);
  },
);

test("paging while workflows come and go: none twice, none lost, also where the last of a page is gone", async () => {
  const start = (n: number) =>
    Promise.all(Array.from({ length: n }, () => engine.start("SuspendedSleeper/run", { ms: 120_000 })));
  // All at once: many share a millisecond.
  const there = new Set((await start(60)).map((id) => `restate:${id}`));
  const seen: string[] = [];
  const gone = new Set<string>();
  const request = { type: ["SuspendedSleeper"], pageSize: 7 };
  const doors = doorsOf(listWorkflows);
  let pageToken = "";
  for (let page = 0; page === 0 || pageToken !== ""; page++) {
    // A token goes from one protocol to the next.
    const door = doors[page % doors.length] as Door<typeof listWorkflows>;
    const answer = await through(door, { ...request, pageToken });
    expect(answer.workflows.length).toBeLessThanOrEqual(7);
    expect(answer.unreachableEngines).toEqual([]);
    seen.push(...answer.workflows.map(({ workflowId }) => workflowId));
    pageToken = answer.nextPageToken;
    // The last of this page is purged, one that has not been listed yet is paused, and new ones come.
    const last = seen.at(-1) ?? "";
    await purge(own(last));
    const waiting = [...there].find((id) => !seen.includes(id) && !gone.has(id));
    if (waiting) await server.control.pauseWorkflow({ workflowId: waiting, reason: "while paging" });
    await start(2);
  }
  expect(new Set(seen).size).toBe(seen.length);
  expect([...there].filter((id) => !seen.includes(id))).toEqual([]);
  expect(seen.filter((id) => !there.has(id))).toEqual([]);
});

async function purge(invocation: string): Promise<void> {
  await engine.admin("PATCH", `/invocations/${invocation}/kill`);
  await engine.untilStatus(invocation, "completed");
  const { status, body } = await engine.admin("PATCH", `/invocations/${invocation}/purge`);
  if (status >= 300) throw new Error(`purge: ${status} ${body}`);
}
