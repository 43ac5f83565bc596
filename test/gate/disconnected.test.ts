import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createGate, type Gate, type GateOptions } from "../../src/gate/index.ts";
import { type Caller, type CrashServer, startCrashServer } from "../brakes/crash-process.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";

const wait = durationFromMs(20_000);
/** How long a test looks whether a step starts. */
const lookMs = 500;
const short = { count: 2, ms: 20 };

let engine: TestEngine;
let server: CrashServer;
let alice: Caller;
let token: string;
let gate: Gate | undefined;
beforeAll(async () => {
  engine = await startTestEngine({ hooks: [(ctx) => gate?.hooks(ctx) ?? {}] });
  server = await startCrashServer(engine.adminSocket);
  alice = await server.callAs("alice", "sre_admin");
  token = (await alice.gateTokens.createGateToken({ name: "workers", engine: "restate", reason: "test" })).secret;
});
afterEach(() => gate?.close());
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

async function open(options: Partial<GateOptions>): Promise<Gate> {
  gate = createGate({ url: server.url, token, name: "worker", ...options });
  await gate.ready();
  return gate;
}
const mode = (of: Gate) => expect.poll(() => of.state().mode, { timeout: 10_000 });
const engage = async (types: string[]) => {
  const { brake } = await alice.brakes.engageBrake({ selector: { types }, reason: "test", gateWait: wait });
  expect(brake?.receipt?.gates).toMatchObject([{ gate: "worker", attached: true, ackTime: {} }]);
  return brake?.brakeId ?? "";
};
/** Asserts that the workflow stands, and that somebody who resumes it in the engine's own tool does not get it to move. */
const expectHeld = async (id: string) => {
  await engine.untilStatus(id, "paused");
  const since = Date.now();
  await engine.admin("PATCH", `/invocations/${id}/resume`);
  await delay(lookMs);
  expect(engine.steps.startedSince(id, since)).toBe(0);
  await engine.untilStatus(id, "paused");
};

test("the server killed: by default the last known brakes go on to hold for their time, then nothing is held, until it is back", async () => {
  const worker = await open({ staleLimitMs: 6_000 });
  const brakeId = await engage(["Steps"]);
  await server.kill();
  await mode(worker).toBe("stale");
  const held = await engine.start("Steps/run", short);
  await expectHeld(held);
  const other = await engine.start("Parallel/run", { ms: 20 });
  await engine.untilStatus(other, "completed");
  await mode(worker).toBe("open");
  await engine.untilStatus(await engine.start("Steps/run", short), "completed");
  await server.start();
  await mode(worker).toBe("connected");
  const late = await engine.start("Steps/run", short);
  await expectHeld(late);
  expect(engine.steps.of(late)).toEqual([]);
  await alice.brakes.releaseBrake({ brakeId, reason: "test", wait });
  for (const id of [held, late]) await engine.untilStatus(id, "completed");
});

test('the server killed, "hold": after the last known brakes\' time every step is held, for as long as is said, and goes on when it is back', async () => {
  const worker = await open({ whenDisconnected: "hold", staleLimitMs: 2_500, holdLimitMs: 4_000 });
  const brakeId = await engage(["Steps"]);
  await server.kill();
  await mode(worker).toBe("stale");
  await engine.untilStatus(await engine.start("Parallel/run", { ms: 20 }), "completed");
  await mode(worker).toBe("closed");
  const [held, other] = [await engine.start("Steps/run", short), await engine.start("Parallel/run", { ms: 20 })];
  for (const id of [held, other]) {
    await engine.untilStatus(id, "paused");
    expect(engine.steps.of(id)).toEqual([]);
  }
  await mode(worker).toBe("open");
  await engine.untilStatus(await engine.start("Parallel/run", { ms: 20 }), "completed");
  await server.start();
  await mode(worker).toBe("connected");
  // No brake is about it: only its gate held it, for want of a connection.
  await engine.untilStatus(other, "completed");
  await expectHeld(held);
  await alice.brakes.releaseBrake({ brakeId, reason: "test", wait });
  await engine.untilStatus(held, "completed");
});

test("the receipt names the gate of a worker that does not answer, and goes on without it", async () => {
  await open({});
  const script = `
    const { createGate } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/gate/index.ts"))});
    const gate = createGate({ url: process.argv[1], token: process.argv[2], name: "frozen" });
    await gate.ready();
    console.log("ready");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, server.url, token], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    child.kill("SIGSTOP");
    const { brake } = await alice.brakes.engageBrake({
      selector: { types: ["Steps"] },
      reason: "test",
      gateWait: durationFromMs(300),
    });
    const told = (brake?.receipt?.gates ?? []).map(({ gate: name, attached, ackTime }) => [
      name,
      { attached, confirmed: ackTime !== undefined },
    ]);
    expect(Object.fromEntries(told)).toEqual({
      frozen: { attached: true, confirmed: false },
      worker: { attached: true, confirmed: true },
    });
    const { entries } = await alice.audit.listAuditEntries({ action: ["brake.gates"] });
    expect(entries[0]?.message).toBe("1 of 2 gates confirmed; silent: frozen");
    await alice.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});
