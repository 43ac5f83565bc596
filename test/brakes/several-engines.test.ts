import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Brake, BrakeSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { RestateEngine } from "../../src/engines/restate.ts";
import type { FaultyLink } from "../conformance/engine/harness.ts";
import { httpLink } from "../conformance/engine/http-link.ts";
import { restateHttp } from "../conformance/engine/restate.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const wait = durationFromMs(20_000);

let near: TestEngine;
let far: TestEngine;
/** The line to the engine that is called "far". */
let line: FaultyLink;
let server: TestServer;
beforeAll(async () => {
  [near, far] = await Promise.all([startTestEngine(), startTestEngine()]);
  line = await httpLink(restateHttp(far), (port) => new RestateEngine("far", { host: "127.0.0.1", port }));
  server = await startTestServer(near.adminSocket, { besides: [line.engine] });
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
    selector: { types: ["Sleeper"], workflowIds: [...workflowIds] },
    reason: "test",
    wait: durationFromMs(ms),
  });
  return brake ?? create(BrakeSchema);
};
const release = (brakeId: string) => server.brakes.releaseBrake({ brakeId, reason: "test", wait });

/** Watches the brake until it is so. */
async function untilBrake(brakeId: string, isSo: (brake: Brake) => boolean): Promise<Brake> {
  const stop = new AbortController();
  try {
    for await (const { brake } of server.brakes.watchBrake({ brakeId }, { signal: stop.signal, timeoutMs: 25_000 })) {
      if (brake && isSo(brake)) return brake;
    }
  } finally {
    stop.abort();
  }
  throw new Error("the watch ended before");
}

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
    const all = [...ids.near, ...ids.far];
    line.set(fault);
    const preview = await server.brakes.previewBrake({ selector: { workflowIds: all } });
    expect(preview.matched).toBe(2);
    expect(preview.unreachableEngines).toMatchObject([{ engine: "far" }]);
    const brake = await engage(all);
    const held = await untilBrake(brake.brakeId, ({ receipt }) => receipt?.standing === 2);
    const [outage] = held.receipt?.unreachableEngines ?? [];
    expect(outage).toMatchObject({ engine: "far", message: expect.stringContaining("far") });
    expect(
      timestampMs(outage?.since ?? { seconds: 0n, nanos: 0, $typeName: "google.protobuf.Timestamp" }),
    ).toBeLessThanOrEqual(Date.now());
    // Nobody has looked there since it was engaged: neither is a number told, nor that all stand.
    expect(outage?.lastKnown).toBeUndefined();
    expect(held.receipt?.allStandingTime).toBeUndefined();
    line.set("none");
    const whole = await untilBrake(brake.brakeId, ({ receipt }) => receipt?.standing === 4);
    expect(whole.receipt).toMatchObject({ matched: 4, caughtLater: 2, unreachableEngines: [] });
    await release(brake.brakeId);
  },
);

test("an engine that goes away while a brake stands is told with what was held there last, since when, until it is back", async () => {
  const ids = await sleepers(2);
  const brake = await engage([...ids.near, ...ids.far], 20_000);
  line.set("unreachable");
  const away = await untilBrake(brake.brakeId, ({ receipt }) => receipt?.unreachableEngines.length === 1);
  expect(away.receipt?.unreachableEngines).toMatchObject([{ engine: "far", lastKnown: 2 }]);
  const { brakes } = await server.brakes.listBrakes({});
  expect(brakes.find(({ brakeId }) => brakeId === brake.brakeId)?.receipt?.unreachableEngines).toMatchObject([
    { engine: "far", lastKnown: 2 },
  ]);
  line.set("none");
  await untilBrake(brake.brakeId, ({ receipt }) => receipt?.unreachableEngines.length === 0);
  await release(brake.brakeId);
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
