import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, test, vi } from "vitest";
import { startGateServer } from "../fixture/gate-server.ts";
import type { Burst, Told } from "./ai-first-callers.ts";

const count = 5_000;
/** The server does nothing for so long while they come, as in a moment in which its machine is busy, ms. */
const stallMs = 1_000;

test("5,000 requests of a few KB that come at once, while the server is busy, are all held, and all answered ALLOW on release", {
  timeout: 150_000,
}, async () => {
  const server = await startGateServer();
  const callers = new Worker(join(import.meta.dirname, "ai-first-callers.ts"));
  try {
    const url = await server.hookUrl();
    const { brake } = await server.brakes.engageBrake({ selector: { everything: true }, reason: "all of it" });
    const heap = process.memoryUsage().heapUsed;
    callers.postMessage({ url, count } satisfies Burst);
    await once(callers, "message");
    const answered: Promise<Told[]> = once(callers, "message");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stallMs);
    await vi.waitFor(async () => expect((await server.control.getHealth({})).activeWorkflows).toBe(count), {
      timeout: 120_000,
      interval: 100,
    });
    expect((process.memoryUsage().heapUsed - heap) / count).toBeLessThan(128 * 1024);
    await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "fine" });
    expect(await answered).toEqual([{ ALLOW: count }]);
  } finally {
    await callers.terminate();
    await server.stop();
  }
});
