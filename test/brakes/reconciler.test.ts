import { createServer, request } from "node:http";
import { createServer as createTcpServer, type Server } from "node:net";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Engine } from "../../src/engines/engine.ts";
import { RestateEngine } from "../../src/engines/restate.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServerOptions } from "../fixture/server.ts";

const wait = durationFromMs(20_000);

let engine: TestEngine;
beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(() => engine?.stop());

async function start(options: TestServerOptions) {
  const server = await startTestServer(engine.adminSocket, options);
  onTestFinished(() => server.stop());
  return server;
}

/** The engine, with what it was asked to let go: how many at a time, and when. */
function counting(released: { count: number; time: number }[]) {
  return (real: Engine): Engine =>
    new Proxy(real, {
      get(target, key) {
        if (key === "release") {
          return (ids: readonly string[]) => {
            if (ids.length > 0) released.push({ count: ids.length, time: performance.now() });
            return target.release(ids);
          };
        }
        const value = Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

test("a release lets no more go in a second than is configured", async () => {
  const released: { count: number; time: number }[] = [];
  const server = await start({ through: counting(released), releaseRate: 4 });
  const ids = await Promise.all(Array.from({ length: 10 }, () => engine.start("Awaiter/run")));
  for (const id of ids) await engine.steps.untilStep(id, "step-1");
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["Awaiter"] }, reason: "test", wait });
  expect(brake?.receipt).toMatchObject({ matched: 10, standing: 10 });
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
  expect(released.map(({ count }) => count)).toEqual([4, 4, 2]);
  const [first, second, third] = released.map(({ time }) => time);
  expect((third ?? 0) - (first ?? 0)).toBeGreaterThan(1_000);
  expect(second).toBeGreaterThan(first ?? 0);
  for (const id of ids) await engine.resolveAwakeable(id);
  for (const id of ids) await engine.untilStatus(id, "completed");
});

test("an engine without the batch endpoint is asked for each workflow by the documented call", async () => {
  const asked: string[] = [];
  const path = join(engine.dataDir, "no-batches.sock");
  const proxy = createServer((req, res) => {
    asked.push(`${req.method} ${req.url}`);
    if (req.url?.startsWith("/internal/")) return void res.writeHead(404).end("not found");
    const { method, url, headers } = req;
    const forwarded = request({ socketPath: engine.adminSocket, method, path: url, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    req.pipe(forwarded);
  });
  await new Promise<void>((resolve) => proxy.listen(path, resolve));
  onTestFinished(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const server = await start({ through: () => new RestateEngine("restate", { socketPath: path }) });
  const ids = await Promise.all(Array.from({ length: 8 }, () => engine.start("SuspendedAwaiter/run")));
  for (const id of ids) await engine.untilStatus(id, "suspended");
  const { brake } = await server.brakes.engageBrake({
    selector: { types: ["SuspendedAwaiter"] },
    reason: "test",
    wait,
  });
  expect(brake?.receipt).toMatchObject({ matched: 8, standing: 8 });
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
  for (const id of ids) {
    expect(asked).toContain(`PATCH /invocations/${id}/pause`);
    await engine.resolveAwakeable(id);
    await engine.untilStatus(id, "completed");
  }
  expect(asked).toContain("POST /internal/invocations_batch_operations/pause");
});

test("an engine that does not answer delays no other", async () => {
  const silent: Server = createTcpServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as { port: number };
  const server = await start({ besides: [new RestateEngine("silent", { host: "127.0.0.1", port })] });
  const id = await engine.start("Awaiter/run");
  await engine.steps.untilStep(id, "step-1");
  // The reconciler of the other one has been waiting for an answer since the start.
  const selector = { engines: ["restate"], types: ["Awaiter"] };
  const { brake } = await server.brakes.engageBrake({ selector, reason: "test", wait });
  expect(brake?.receipt).toMatchObject({ matched: 1, standing: 1 });
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
  await engine.resolveAwakeable(id);
  await engine.untilStatus(id, "completed");
});

test("a brake on very many that have not begun tells which of them are due", async () => {
  const server = await start({});
  await Promise.all(Array.from({ length: 101 }, () => engine.start("Steps/run", {}, { delayMs: 1_200_000 })));
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["Steps"] }, reason: "test" });
  expect(brake?.receipt).toMatchObject({ matched: 101 });
  const due = async () =>
    (await server.brakes.getBrake({ brakeId: brake?.brakeId ?? "" })).brake?.deadlinesAtRisk.map(({ what }) => what);
  await expect.poll(due, { timeout: 15_000 }).toEqual(Array(100).fill("scheduled start"));
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
});
