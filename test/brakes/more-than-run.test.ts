import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const places = 10;
const workflows = 60;

let engine: TestEngine;
let server: TestServer;
beforeAll(async () => {
  const settings = { RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT: String(places) };
  engine = await startTestEngine({ settings });
  server = await startTestServer(engine.adminSocket);
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

// The engine accepts a pause of those that wait for a place, and forgets it.
test("of more open workflows than the engine runs at a time, each comes to a stand, and each ends after release", async () => {
  const ids = await Promise.all(
    Array.from({ length: workflows }, () => engine.start("Steps/run", { count: 3, ms: 2_000 })),
  );
  const selector = { workflowIds: ids.map((id) => `restate:${id}`) };
  const { brake } = await server.brakes.engageBrake({ selector, reason: "more than it runs" });
  const brakeId = brake?.brakeId ?? "";
  for await (const { brake } of server.brakes.watchBrake({ brakeId })) if (brake?.receipt?.allStandingTime) break;
  const [row] = await engine.query<{ n: number }>("SELECT count(*) AS n FROM sys_invocation WHERE status = 'paused'");
  expect(row?.n).toBe(workflows);

  await server.brakes.releaseBrake({ brakeId, reason: "over" });
  for (const id of ids) await engine.untilStatus(id, "completed");
  for (const id of ids) expect(engine.steps.of(id).filter(({ event }) => event === "end")).toHaveLength(3);
}, 120_000);
