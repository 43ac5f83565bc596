import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type Brake, BrakeSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import {
  WatchWorkflowsResponse_Kind as Kind,
  type WatchWorkflowsResponse,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { gateDefaults } from "../../src/engines/gate/config.ts";
import { RestateEngine } from "../../src/engines/restate.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { hookedRuns } from "../conformance/engine/ai-first.ts";
import { attachedRuns } from "../conformance/engine/attached.ts";
import type { FaultyLink } from "../conformance/engine/harness.ts";
import { httpLink } from "../conformance/engine/http-link.ts";
import { restateHttp } from "../conformance/engine/restate.ts";
import { Scripts } from "../conformance/engine/scripts.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import type { StepRecorder } from "../fixture/step-recorder.ts";
import { untilBrake } from "../fixture/until-brake.ts";

const wait = durationFromMs(20_000);
/** Sooner than an adapter gives up an engine that is silent, ms. */
const soon = 8_000;

let restate: TestEngine;
/** The server's line to Restate. */
let line: FaultyLink;
let server: TestServer;
/** The AI-First Runtime, and agents that attach. */
let hooked: Scripts;
let attached: Scripts;
let gate: Gate;
beforeAll(async () => {
  restate = await startTestEngine();
  line = await httpLink(restateHttp(restate), (port) => new RestateEngine("restate", { host: "127.0.0.1", port }));
  server = await startTestServer(restate.adminSocket, {
    through: () => line.engine,
    gateEngines: [
      { name: "ai-first", kind: "ai-first", ...gateDefaults },
      { name: "agents", kind: "gate", ...gateDefaults },
    ],
  });
  hooked = new Scripts(hookedRuns(`${server.url}/v1/gates/ai-first/${await server.gateToken("hooks", "ai-first")}`));
  gate = createGate({ url: server.url, token: await server.gateToken("agents", "agents"), engine: "agents" });
  await gate.ready();
  attached = new Scripts(attachedRuns(gate));
});
afterAll(async () => {
  hooked?.stop();
  attached?.stop();
  await gate?.close();
  await server?.stop();
  await line?.close();
  await restate?.stop();
});
beforeEach(() => line.set("none"));

/** A run, by the names and numbers of those who carry it out. */
interface Started {
  readonly workflowId: string;
  readonly id: string;
  readonly steps: StepRecorder;
}

/** Each starts a run of four steps, and resolves once the server can know it. */
const start = {
  async restate(ms = 600): Promise<Started> {
    const id = await restate.start("Steps/run", { count: 4, ms });
    return { workflowId: `restate:${id}`, id, steps: restate.steps };
  },
  async aiFirst(ms = 600): Promise<Started> {
    const id = await hooked.start({ does: "steps", count: 4, ms });
    return { workflowId: `ai-first:${id}`, id, steps: hooked.steps };
  },
  async agents(ms = 600): Promise<Started> {
    const id = await attached.start({ does: "steps", count: 4, ms });
    await vi.waitFor(() => expect(gate.state().unacknowledgedReports).toBe(0));
    return { workflowId: `agents:${id}`, id, steps: attached.steps };
  },
};
const startOfEach = () => Promise.all([start.restate(), start.aiFirst(), start.agents()]);

/** So many of each kind, in a step. */
async function fleet(count: number): Promise<Started[]> {
  const started = (await Promise.all(Array.from({ length: count }, startOfEach))).flat();
  await Promise.all(started.map(({ id, steps }) => steps.untilStep(id, "step-1")));
  return started;
}

const everyKind = { labels: ["owner=test-team"] };
let engaged: string[] = [];
async function engage(ms = 20_000): Promise<Brake> {
  const answer = await server.brakes.engageBrake({ selector: everyKind, reason: "test", wait: durationFromMs(ms) });
  const brake = answer.brake ?? create(BrakeSchema);
  engaged.push(brake.brakeId);
  return brake;
}
async function release(brakeId: string): Promise<void> {
  await server.brakes.releaseBrake({ brakeId, reason: "test", wait });
  engaged = engaged.filter((id) => id !== brakeId);
}
afterEach(async () => {
  line.set("none");
  for (const brakeId of engaged) await release(brakeId);
});

const startsOf = ({ id, steps }: Started) => steps.of(id).filter(({ event }) => event === "start").length;

async function statusOf({ workflowId }: Started): Promise<Status | undefined> {
  return (await server.control.getWorkflow({ workflowId }, { timeoutMs: soon })).workflow?.status;
}

async function untilPaused(started: Started): Promise<void> {
  await vi.waitFor(async () => expect(await statusOf(started)).toBe(Status.PAUSED), { timeout: 20_000 });
}

/** Each of its steps ran to its end, once. */
async function expectWhole(started: Started): Promise<void> {
  await started.steps.untilStep(started.id, "step-4", "end");
  const ran = started.steps.of(started.id).map(({ step, event }) => `${step} ${event}`);
  const once = Array.from({ length: 4 }, (_, n) => [`step-${n + 1} start`, `step-${n + 1} end`]).flat();
  expect(ran).toEqual(once);
}

test("one brake on a label holds runs of every kind at once, also those that begin later; released, each takes every step once", async () => {
  const early = await fleet(2);
  const brake = await engage();
  expect(brake.receipt).toMatchObject({ matched: 6, standing: 6, unreachableEngines: [] });
  const late = await startOfEach();
  await Promise.all(late.map(untilPaused));
  const before = [...early, ...late].map(startsOf);
  // Those that ask have not taken a step; Restate's sweep may let one begin.
  expect(before.slice(-2)).toEqual([0, 0]);
  await delay(500);
  expect([...early, ...late].map(startsOf)).toEqual(before);
  const { brake: shown } = await server.brakes.getBrake({ brakeId: brake.brakeId });
  expect(shown?.receipt).toMatchObject({ matched: 9, standing: 9, caughtLater: 3 });
  await release(brake.brakeId);
  for (const started of [...early, ...late]) await expectWhole(started);
});

test("while Restate is away the brake holds what asks, tells since when and how many it last knew, tries on, and catches up", async () => {
  const early = await fleet(2);
  const brake = await engage();
  const from = Date.now();
  line.set("unreachable");
  const away = await untilBrake(
    server.brakes,
    brake.brakeId,
    ({ receipt }) => receipt?.unreachableEngines.length === 1,
  );
  const [outage] = away.receipt?.unreachableEngines ?? [];
  expect(outage).toMatchObject({ engine: "restate", lastKnown: 2, message: expect.stringMatching(/./) });
  const since = outage?.since ? timestampMs(outage.since) : 0;
  expect(since).toBeGreaterThanOrEqual(from - 1_000);
  expect(since).toBeLessThanOrEqual(Date.now());
  // Started past the server: Restate is there, only the line is not.
  const late = await startOfEach();
  const [unseen, ...asking] = late;
  await Promise.all(asking.map(untilPaused));
  expect(asking.map(startsOf)).toEqual([0, 0]);
  const preview = await server.brakes.previewBrake({ selector: everyKind });
  expect(preview.unreachableEngines).toMatchObject([{ engine: "restate" }]);
  expect(preview.matched).toBe(6);
  await unseen.steps.untilStep(unseen.id, "step-4", "end");
  line.set("none");
  await untilBrake(server.brakes, brake.brakeId, ({ receipt }) => receipt?.unreachableEngines.length === 0);
  const caught = await start.restate();
  await untilPaused(caught);
  await release(brake.brakeId);
  for (const started of [...early, ...late, caught]) await expectWhole(started);
});

/** All pages of what was created since, page by page; `between` happens before each but the first. */
async function pages(since: number, pageSize: number, between: (page: number) => void = () => {}) {
  const workflows: { id: string; time: number }[] = [];
  const unreachable: string[][] = [];
  for (let pageToken = "", page = 1; ; page++) {
    const request = { createdAfter: timestampFromMs(since), pageSize, pageToken };
    const answer = await server.control.listWorkflows(request);
    for (const { workflowId: id, createTime } of answer.workflows) {
      workflows.push({ id, time: createTime ? timestampMs(createTime) : 0 });
    }
    unreachable.push(answer.unreachableEngines);
    pageToken = answer.nextPageToken;
    if (pageToken === "") return { workflows, ids: workflows.map(({ id }) => id), unreachable };
    between(page + 1);
  }
}

test("a list merges the kinds in one stable order, and its page tokens outlast Restate's being away", async () => {
  const since = Date.now();
  const started: Started[] = [];
  for (let n = 0; n < 4; n++) {
    started.push(await start.restate(1), await start.aiFirst(1), await start.agents(1));
  }
  const ids = started.map(({ workflowId }) => workflowId);
  for (const one of started) await expectWhole(one);
  const whole = await pages(since, 50);
  expect(whole.unreachable.flat()).toEqual([]);
  expect(whole.ids.toSorted()).toEqual(ids.toSorted());
  expect(whole.workflows.map(({ time }) => time)).toEqual(
    whole.workflows.map(({ time }) => time).toSorted((a, b) => b - a),
  );
  for (const pageSize of [1, 5]) expect((await pages(since, pageSize)).ids).toEqual(whole.ids);
  const found = await pages(since, 2, (page) => line.set(page === 2 || page === 3 ? "unreachable" : "none"));
  expect(found.unreachable.slice(0, 4)).toEqual([[], ["restate"], ["restate"], []]);
  expect(found.ids.toSorted()).toEqual(ids.toSorted());
});

// The last one: reads that are kept unanswered keep their places until the adapter gives them up.
test("a silent Restate delays nobody else: hooks are answered, a new brake holds, lists answer and a watch goes on", async () => {
  const stop = new AbortController();
  const events = server.control.watchWorkflows({}, { signal: stop.signal, timeoutMs: 60_000 });
  const watched = events[Symbol.asyncIterator]();
  const seen: WatchWorkflowsResponse[] = [];
  /** What was seen before counts. */
  const untilEvent = async (isIt: (event: WatchWorkflowsResponse) => boolean) => {
    while (!seen.some(isIt)) {
      const { value, done } = await watched.next();
      if (done) throw new Error("the watch ended");
      seen.push(value);
    }
  };
  try {
    await untilEvent(({ kind }) => kind === Kind.SNAPSHOT_END);
    line.set("silent");
    const started = [await start.aiFirst(), await start.agents()];
    const selector = { workflowIds: started.map(({ workflowId }) => workflowId) };
    const { brake } = await server.brakes.engageBrake({ selector, reason: "test" }, { timeoutMs: soon });
    engaged.push(brake?.brakeId ?? "");
    await Promise.all(started.map(untilPaused));
    for (const one of started) {
      await untilEvent(({ workflow }) => workflow?.workflowId === one.workflowId && workflow.status === Status.PAUSED);
    }
    const listed = await server.control.listWorkflows({ status: [Status.PAUSED] }, { timeoutMs: soon });
    expect(listed.unreachableEngines).toEqual(["restate"]);
    expect(listed.workflows.map(({ workflowId }) => workflowId).toSorted()).toEqual(selector.workflowIds.toSorted());
    await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test" }, { timeoutMs: soon });
    engaged = [];
    for (const one of started) await expectWhole(one);
  } finally {
    stop.abort();
  }
});
