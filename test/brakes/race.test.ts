import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

let engine: TestEngine;
let server: TestServer;
beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket);
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

/** The same numbers at every run: a race that was lost once is run again. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("a pause that a resume overtakes leaves nothing paused: 60 workflows, braked and released at any moment of a step", async () => {
  const next = numbers(20_261_122);
  const ids = await Promise.all(Array.from({ length: 60 }, () => engine.start("Steps/run", { count: 40, ms: 60 })));
  await Promise.all(
    ids.map(async (id) => {
      const [before, between] = [next() * 600, next() * 120];
      await engine.steps.untilStep(id, "step-2");
      await delay(before);
      await server.control.pauseWorkflow({ workflowId: id, reason: "raced" });
      await delay(between);
      await server.control.resumeWorkflow({ workflowId: id, reason: "raced" });
    }),
  );
  for (const id of ids) await engine.untilStatus(id, "completed");
  for (const id of ids) expect(engine.steps.of(id).filter((one) => one.event === "end")).toHaveLength(40);
}, 60_000);
