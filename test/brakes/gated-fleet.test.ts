import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Brake, Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const wait = durationFromMs(30_000);

describe.each([false, true])("with a gate, virtual queues %s", (virtualQueues) => {
  let engine: TestEngine;
  let server: TestServer;
  let gate: Gate | undefined;
  beforeAll(async () => {
    // The gate needs the server, which needs the engine, which serves the gated agents: bound late.
    engine = await startTestEngine({ virtualQueues, hooks: [(ctx) => gate?.hooks(ctx) ?? {}] });
    server = await startTestServer(engine.adminSocket, { blastRadius: { sre_admin: 10_000 } });
    gate = createGate({ url: server.url, token: await server.gateToken("agents"), name: "test-agents" });
    await gate.ready();
  });
  afterAll(async () => {
    gate?.close();
    await server?.stop();
    await engine?.stop();
  });
  afterEach(async () => {
    const { brakes } = await server.brakes.listBrakes({ state: [State.ENGAGED] });
    for (const { brakeId } of brakes) await server.brakes.releaseBrake({ brakeId, reason: "test over", wait });
  });

  const engage = async (types: string[], waitMs: number): Promise<Brake> => {
    const { brake } = await server.brakes.engageBrake({
      selector: { types },
      reason: "test",
      wait: durationFromMs(waitMs),
      gateWait: durationFromMs(10_000),
    });
    if (!brake) throw new Error("no brake in the answer");
    return brake;
  };
  const start = (count: number, target: string, input?: unknown, options?: { delayMs?: number }) =>
    Promise.all(Array.from({ length: count }, () => engine.start(target, input, options)));
  const startedSince = (ids: readonly string[], time: number) =>
    ids.reduce((sum, id) => sum + engine.steps.startedSince(id, time), 0);

  test("a mixed fleet of 500, new ones being started: no step starts once all gates have confirmed", async () => {
    const fleet = [
      ...(await start(150, "Steps/run", { count: 400, ms: 40 })),
      ...(await start(100, "Awaiter/run")),
      ...(await start(80, "SuspendedAwaiter/run")),
      ...(await start(60, "Sleeper/run", { ms: 2_500 })),
      ...(await start(40, "Flaky/run", { failures: 3 })),
      ...(await start(30, "Steps/run", { count: 3, ms: 20 }, { delayMs: 2_000 })),
      ...(await start(40, "Queue/fleet/work", { count: 3, ms: 30 })),
    ];
    expect(fleet).toHaveLength(500);
    const stop = new AbortController();
    const late: string[] = [];
    const starting = (async () => {
      while (!stop.signal.aborted) {
        late.push(...(await start(2, "Steps/run", { count: 3, ms: 20 })));
        await delay(50, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    })();
    const types = ["Steps", "Awaiter", "SuspendedAwaiter", "Sleeper", "Flaky", "Queue"];
    const brake = await engage(types, 0);
    const confirmed = Date.now();
    expect(brake.receipt?.gates).toMatchObject([{ gate: "test-agents", attached: true }]);
    expect(brake.receipt?.gates.every((one) => one.ackTime !== undefined)).toBe(true);
    await delay(4_000);
    stop.abort();
    await starting;
    expect(late.length).toBeGreaterThan(10);
    expect(startedSince([...fleet, ...late], confirmed)).toBe(0);
    const releasing = Date.now();
    await server.brakes.releaseBrake({ brakeId: brake.brakeId, reason: "test", wait });
    const long = fleet.slice(0, 150);
    await engine.steps.until("the long ones to move", () => long.every((id) => startedSince([id], releasing) > 0));
    for (const id of fleet.slice(150, 250)) await engine.resolveAwakeable(id);
    for (const id of fleet.slice(250, 330)) await engine.resolveAwakeable(id);
    for (const id of [...fleet.slice(150), ...late]) await engine.untilStatus(id, "completed");
    const ends = late.map((id) => engine.steps.of(id).filter((one) => one.event === "end").length);
    // With virtual queues a step that had begun before the confirmation may be cut off, and runs again.
    for (const count of ends) expect(count).toBeGreaterThanOrEqual(3);
    if (!virtualQueues) expect(Math.max(...ends)).toBe(3);
  }, 120_000);

  test("what the gate paused while the server was away is held by its brake, and goes on after release", async () => {
    const brake = await engage(["Racing"], 0);
    await server.close();
    const ids = await start(5, "Steps/run", { count: 2, ms: 20 });
    const held = await start(5, "Racing/run", {});
    for (const id of held) await engine.untilStatus(id, "paused");
    for (const id of ids) await engine.untilStatus(id, "completed");
    await server.start();
    await expect
      .poll(async () => (await server.brakes.getBrake({ brakeId: brake.brakeId })).brake?.receipt?.standing, {
        timeout: 20_000,
      })
      .toBe(5);
    const shown = await server.control.getWorkflow({ workflowId: held[0] ?? "" });
    expect(shown.workflow).toMatchObject({
      status: Status.PAUSED,
      holds: [{ brakeId: brake.brakeId, external: false }],
    });
    expect(shown.workflow?.haltReceipt).toMatchObject({ stepsInFlight: [], stepsStartedAfterAccept: 0 });
    await server.brakes.releaseBrake({ brakeId: brake.brakeId, reason: "test", wait });
    for (const id of held) await engine.untilStatus(id, "completed");
  }, 60_000);
});
