import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { BrakeSchema, Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { WatchWorkflowsResponse_Kind as Kind } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { Engine } from "../../src/engines/engine.ts";
import { RestateEngine } from "../../src/engines/restate.ts";
import type { FaultyLink } from "../conformance/engine/harness.ts";
import { httpLink } from "../conformance/engine/http-link.ts";
import { restateHttp } from "../conformance/engine/restate.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { untilBrake } from "../fixture/until-brake.ts";

const wait = durationFromMs(20_000);

let near: TestEngine;
let far: TestEngine;
/** The line to the engine that is called "far". */
let line: FaultyLink;
let server: TestServer;
/** The engines that are configured beside the near one, from the next start on. */
let besides: Engine[];
beforeAll(async () => {
  [near, far] = await Promise.all([startTestEngine(), startTestEngine()]);
  line = await httpLink(restateHttp(far), (port) => new RestateEngine("far", { host: "127.0.0.1", port }));
  besides = [line.engine];
  server = await startTestServer(near.adminSocket, { besides });
});
afterAll(async () => {
  await server?.stop();
  await line?.close();
  await Promise.all([near?.stop(), far?.stop()]);
});
beforeEach(() => line.set("none"));

/** So many asleep on each engine, as workflow ids. */
async function sleepers(count: number): Promise<{ near: string[]; far: string[] }> {
  const on = async (engine: TestEngine, name: string) => {
    const ids = await Promise.all(Array.from({ length: count }, () => engine.start("Sleeper/run", { ms: 600_000 })));
    await Promise.all(ids.map((id) => engine.steps.untilStep(id, "step-1", "end")));
    return ids.map((id) => `${name}:${id}`);
  };
  return { near: await on(near, "restate"), far: await on(far, "far") };
}

const engage = async (workflowIds: readonly string[], ms = 0) => {
  const { brake } = await server.brakes.engageBrake({
    selector: { types: ["Sleeper", "Steps"], workflowIds: [...workflowIds] },
    reason: "test",
    wait: durationFromMs(ms),
  });
  return brake ?? create(BrakeSchema);
};
const release = (brakeId: string) => server.brakes.releaseBrake({ brakeId, reason: "test", wait });

test("a brake without an engine holds what matches on all engines at once", async () => {
  const ids = await sleepers(3);
  const brake = await engage([...ids.near, ...ids.far], 20_000);
  expect(brake.receipt).toMatchObject({ matched: 6, standing: 6, unreachableEngines: [] });
  for (const id of ids.near) expect(await near.status(id.slice("restate:".length))).toBe("paused");
  for (const id of ids.far) expect(await far.status(id.slice("far:".length))).toBe("paused");
  await release(brake.brakeId);
});

test.each(["unreachable", "silent"] as const)(
  "an engine that is %s does not keep the others from being held; it is told, tried again, and caught up with",
  async (fault) => {
    const ids = await sleepers(2);
    // Always in a step, so that it takes its time to stand.
    const slow = await far.start("Steps/run", { count: 1_000, ms: 400 });
    await far.steps.untilStep(slow, "step-1");
    const all = [...ids.near, ...ids.far, `far:${slow}`];
    line.set(fault);
    const preview = await server.brakes.previewBrake({ selector: { workflowIds: all } });
    expect(preview.matched).toBe(2);
    expect(preview.unreachableEngines).toMatchObject([{ engine: "far" }]);
    const brake = await engage(all);
    const held = await untilBrake(server.brakes, brake.brakeId, ({ receipt }) => receipt?.standing === 2);
    const [outage] = held.receipt?.unreachableEngines ?? [];
    expect(outage).toMatchObject({ engine: "far", message: expect.stringContaining("far") });
    expect(
      timestampMs(outage?.since ?? { seconds: 0n, nanos: 0, $typeName: "google.protobuf.Timestamp" }),
    ).toBeLessThanOrEqual(Date.now());
    // Nobody has looked there since it was engaged: neither is a number told, nor that all stand.
    expect(outage?.lastKnown).toBeUndefined();
    expect(held.receipt?.allStandingTime).toBeUndefined();
    const back = Date.now();
    line.set("none");
    // They were open before: they are what was to be held, and all stand only when they do.
    const whole = await untilBrake(
      server.brakes,
      brake.brakeId,
      ({ receipt }) => receipt?.allStandingTime !== undefined,
    );
    expect(whole.receipt).toMatchObject({ matched: 5, standing: 5, caughtLater: 0, missedAtFirst: 3 });
    expect(whole.receipt?.unreachableEngines).toEqual([]);
    expect(timestampMs(whole.receipt?.allStandingTime ?? timestampFromMs(0))).toBeGreaterThanOrEqual(back);
    await release(brake.brakeId);
  },
);

test("of an engine that was away at the engagement, what started since is caught later, and what was open before was missed", async () => {
  const before = await far.start("Awaiter/run");
  await far.steps.untilAwakeable(before);
  line.set("unreachable");
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["Awaiter"] }, reason: "test" });
  const brakeId = brake?.brakeId ?? "";
  const since = await far.start("Awaiter/run");
  await far.steps.untilAwakeable(since);
  // A server that starts anew meanwhile knows as much.
  await server.restart();
  line.set("none");
  const whole = await untilBrake(server.brakes, brakeId, ({ receipt }) => receipt?.standing === 2);
  expect(whole.receipt).toMatchObject({ matched: 2, caughtLater: 1, missedAtFirst: 1 });
  await release(brakeId);
});

test("an engine that goes away while a brake stands is told with what was held there last, since when, until it is back", async () => {
  const ids = await sleepers(2);
  const brake = await engage([...ids.near, ...ids.far], 20_000);
  line.set("unreachable");
  const away = await untilBrake(
    server.brakes,
    brake.brakeId,
    ({ receipt }) => receipt?.unreachableEngines.length === 1,
  );
  expect(away.receipt?.unreachableEngines).toMatchObject([{ engine: "far", lastKnown: 2 }]);
  const { brakes } = await server.brakes.listBrakes({});
  expect(brakes.find(({ brakeId }) => brakeId === brake.brakeId)?.receipt?.unreachableEngines).toMatchObject([
    { engine: "far", lastKnown: 2 },
  ]);
  line.set("none");
  await untilBrake(server.brakes, brake.brakeId, ({ receipt }) => receipt?.unreachableEngines.length === 0);
  await release(brake.brakeId);
});

test("a brake is shown at once while an engine that it holds on is silent, with what the others say is due", async () => {
  const ids = await sleepers(1);
  const brake = await engage([...ids.near, ...ids.far], 20_000);
  await server.brakes.getBrake({ brakeId: brake.brakeId });
  line.set("silent");
  // Sooner than the adapter itself would give up.
  const { brake: shown } = await server.brakes.getBrake({ brakeId: brake.brakeId }, { timeoutMs: 8_000 });
  expect(shown?.deadlinesAtRisk.map(({ workflowId }) => workflowId)).toEqual(ids.near);
  line.set("none");
  await release(brake.brakeId);
});

test("a release while an engine is away is durable, lets go what it can, names what it cannot, and lets that go when the engine is back", async () => {
  const ids = await sleepers(2);
  const all = [...ids.near, ...ids.far];
  const [shared = "", alone = ""] = ids.far;
  const other = await engage([shared], 20_000);
  const { brakeId } = await engage(all, 20_000);
  line.set("unreachable");
  const answer = await server.brakes.releaseBrake({ brakeId, reason: "test" });
  expect(answer.brake).toMatchObject({ state: State.RELEASED, receipt: { unreachableEngines: [{ engine: "far" }] } });
  expect(answer.stillHeld).toMatchObject([{ workflowId: shared, brakeIds: [other.brakeId] }]);
  expect(answer.notLetGo).toMatchObject([{ outage: { engine: "far" }, count: 1, workflowIds: [alone] }]);
  for (const id of ids.near) await near.untilStatus(id.slice("restate:".length), "running", "suspended");
  await server.restart();
  const left = await untilBrake(server.brakes, brakeId, ({ receipt }) => receipt?.unreachableEngines.length === 1);
  expect(left).toMatchObject({ state: State.RELEASED, release: { released: 2, remaining: 2 } });
  expect(left.receipt?.unreachableEngines).toMatchObject([{ engine: "far", lastKnown: 2 }]);
  expect(await far.status(alone.slice("far:".length))).toBe("paused");
  line.set("none");
  const over = await untilBrake(server.brakes, brakeId, ({ release: done }) => done?.remaining === 0);
  expect(over.receipt?.unreachableEngines).toEqual([]);
  await far.untilStatus(alone.slice("far:".length), "running", "suspended");
  expect(await far.status(shared.slice("far:".length))).toBe("paused");
  await release(other.brakeId);
});

test("what policy keeps from being let go is not let go either while its engine is away", async () => {
  const id = await far.start("Reserved/run", { count: 1_000, ms: 50 });
  await far.steps.untilStep(id, "step-1");
  const sre = await server.brakesAs("sam", "sre");
  const { brake } = await sre.engageBrake({ selector: { workflowIds: [`far:${id}`] }, reason: "test", wait });
  const brakeId = brake?.brakeId ?? "";
  line.set("unreachable");
  await expect(sre.releaseBrake({ brakeId, reason: "mine" })).rejects.toThrow(/would be let go, which is denied/);
  expect((await server.brakes.getBrake({ brakeId })).brake).toMatchObject({ state: State.ENGAGED });
  const { brake: released } = await server.brakes.releaseBrake({ brakeId, reason: "an admin may" });
  expect(released).toMatchObject({ state: State.RELEASED });
  line.set("none");
  await far.untilStatus(id, "running");
});

test("a brake on an engine that is no longer configured keeps nobody else from being held, can be released, and lets go when it is back", async () => {
  const ids = await sleepers(1);
  const [id = ""] = ids.far;
  const selector = { engines: ["far"], types: ["Sleeper"], workflowIds: ids.far };
  const { brake: there } = await server.brakes.engageBrake({ selector, reason: "test", wait });
  const brakeId = there?.brakeId ?? "";
  const { brake: here } = await server.brakes.engageBrake({ selector: { types: ["Parallel"] }, reason: "test" });
  const gone = besides.splice(0);
  await server.restart();
  const late = await near.start("Parallel/run", { ms: 500 });
  await untilBrake(server.brakes, here?.brakeId ?? "", ({ receipt }) => receipt?.standing === 1);
  expect(await near.status(late)).toBe("paused");
  expect((await server.brakes.getBrake({ brakeId })).brake).toMatchObject({ state: State.ENGAGED });
  const { brake: released } = await server.brakes.releaseBrake({ brakeId, reason: "test" });
  expect(released).toMatchObject({ state: State.RELEASED, release: { remaining: 1 } });
  expect(await far.status(id.slice("far:".length))).toBe("paused");
  besides.push(...gone);
  await server.restart();
  await far.untilStatus(id.slice("far:".length), "running", "suspended");
  await release(here?.brakeId ?? "");
});

test("a brake that names another engine is not told of it, and one whose engines are all away is refused", async () => {
  const ids = await sleepers(1);
  line.set("unreachable");
  const selector = { engines: ["restate"], workflowIds: ids.near };
  const { brake } = await server.brakes.engageBrake({ selector, reason: "test", wait });
  expect(brake?.receipt).toMatchObject({ standing: 1, unreachableEngines: [] });
  await expect(engage(ids.far)).rejects.toThrow(/did not answer/);
  await release(brake?.brakeId ?? "");
});

/** All pages of a list, page by page; `between` happens before each but the first. */
async function pages(
  filter: { label?: string[]; type?: string[] },
  pageSize: number,
  between: (page: number) => void = () => {},
): Promise<{ ids: string[]; times: number[]; unreachable: string[][] }> {
  const ids: string[] = [];
  const times: number[] = [];
  const unreachable: string[][] = [];
  for (let pageToken = "", page = 1; ; page++) {
    const answer = await server.control.listWorkflows({ ...filter, pageSize, pageToken });
    ids.push(...answer.workflows.map(({ workflowId }) => workflowId));
    times.push(...answer.workflows.map(({ createTime }) => (createTime ? timestampMs(createTime) : 0)));
    unreachable.push(answer.unreachableEngines);
    pageToken = answer.nextPageToken;
    if (pageToken === "") return { ids, times, unreachable };
    between(page + 1);
  }
}

/** So many that have ended, started in turn on both engines: the newest first. */
async function queued(key: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const [engine, name] = n % 2 === 0 ? ([near, "restate"] as const) : ([far, "far"] as const);
    ids.unshift(`${name}:${await engine.start(`Queue/${key}/work`, { count: 1, ms: 1 })}`);
  }
  return ids;
}

test("a list merges the engines in the order of creation, on pages of any size", async () => {
  const ids = await queued("merged", 8);
  const orders: string[][] = [];
  for (const pageSize of [1, 3, 50]) {
    const found = await pages({ label: ["key=merged"] }, pageSize);
    expect(found.ids.toSorted()).toEqual(ids.toSorted());
    // When each engine says that it was created: two that were started in turn may have the same millisecond.
    expect(found.times).toEqual(found.times.toSorted((a, b) => b - a));
    expect(found.unreachable.flat()).toEqual([]);
    orders.push(found.ids);
  }
  expect(orders).toEqual([orders[0], orders[0], orders[0]]);
});

test.each(["unreachable", "silent"] as const)(
  "a page token outlasts an engine that is %s: it is named, and what it runs comes with the page for which it answers again",
  async (fault) => {
    const ids = await queued(`paged-${fault}`, 12);
    const found = await pages({ label: [`key=paged-${fault}`] }, 2, (page) => line.set(page === 2 ? fault : "none"));
    expect(found.unreachable[1]).toEqual(["far"]);
    expect(found.unreachable.flat()).toEqual(["far"]);
    // Nothing is missing, nothing is there twice.
    expect(found.ids.toSorted()).toEqual(ids.toSorted());
  },
);

test("an engine that stays away ends the list with what the others have", async () => {
  const ids = await queued("away", 6);
  line.set("unreachable");
  const found = await pages({ label: ["key=away"] }, 2);
  expect(found.ids).toEqual(ids.filter((id) => id.startsWith("restate:")));
  expect(found.unreachable.every((engines) => engines.includes("far"))).toBe(true);
});

test("a watch says which engine is away, shows the others meanwhile, and shows all again when it is back", async () => {
  const [here = "", there = ""] = (await queued("watched", 2)).toReversed();
  line.set("unreachable");
  const stop = new AbortController();
  const seen: string[] = [];
  let next: string | undefined;
  try {
    const events = server.control.watchWorkflows(
      { label: ["key=watched"] },
      { signal: stop.signal, timeoutMs: 25_000 },
    );
    for await (const { kind, workflow, unreachableEngines } of events) {
      if (kind === Kind.SNAPSHOT) seen.push(workflow?.workflowId ?? "");
      if (kind === Kind.CHANGED && workflow?.workflowId === next && seen.at(-1) !== "changed") {
        seen.push("changed");
        line.set("none");
      }
      if (kind !== Kind.SNAPSHOT_END) continue;
      seen.push(unreachableEngines.length > 0 ? `without ${unreachableEngines}` : "whole");
      if (unreachableEngines.length === 0) break;
      next ??= `restate:${await near.start("Queue/watched/work", { count: 1, ms: 1 })}`;
    }
  } finally {
    stop.abort();
  }
  expect(seen.slice(0, 3)).toEqual([here, "without far", "changed"]);
  expect(seen.at(-1)).toBe("whole");
  expect(seen.slice(-4, -1).toSorted()).toEqual([here, there, next].toSorted());
});
