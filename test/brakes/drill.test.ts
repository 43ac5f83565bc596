import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { durationFromMs, durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type Drill, Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { ComponentHealth_Status as Health } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { ingressCanary } from "../../src/brakes/drill/ingress-canary.ts";
import type { Canary } from "../../src/brakes/drill.ts";
import { startAgents } from "../../src/dev/agents-process.ts";
import { sampleCanary } from "../../src/dev/canary.ts";
import type { Engine } from "../../src/engines/engine.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { createLog } from "../../src/log.ts";
import { freePort } from "../fixture/free-port.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

let engine: TestEngine;
let server: TestServer;
let gate: Gate | undefined;
/** True: the engine is not asked to hold anything, as if it did not do what it accepted. */
let holdsNothing = false;
/** The engine's own ids of the canaries that were started. */
const canaries: string[] = [];
const steps: Canary = {
  engine: "restate",
  start: async () => {
    const id = await engine.start("Steps/run", { count: 30, ms: 50 });
    canaries.push(id);
    return id;
  },
};
let canary = steps;

beforeAll(async () => {
  engine = await startTestEngine({ hooks: [(ctx) => gate?.hooks(ctx) ?? {}] });
  server = await startTestServer(engine.adminSocket, {
    through: (real) => lazy(real),
    canaries: [{ engine: "restate", start: (signal) => canary.start(signal) }],
  });
});
afterAll(async () => {
  gate?.close();
  await server?.stop();
  await engine?.stop();
});
afterEach(() => {
  canary = steps;
  holdsNothing = false;
});

function lazy(real: Engine): Engine {
  return new Proxy(real, {
    get(target, name) {
      if (name === "hold" && holdsNothing)
        return async (ids: string[]) => new Map(ids.map((id) => [id, { kind: "notYet" }]));
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const drilled = async (waitMs = 10_000): Promise<Drill> => {
  const { drill } = await server.brakes.drillBrake({ reason: "test", wait: durationFromMs(waitMs) });
  if (!drill) throw new Error("no drill in the answer");
  return drill;
};
const engaged = async () => (await server.brakes.listBrakes({ state: [State.ENGAGED] })).brakes;
/** How many drills have their figures in the ledger. */
const recorded = async () => (await server.audit.listAuditEntries({ action: ["brake.drill"] })).entries.length;
const ms = (value: Drill["requestToAccept"]) => (value ? durationMs(value) : Number.NaN);
const healthOf = async () => {
  const health = await server.control.getHealth({});
  return { ...health, drill: health.components.find(({ name }) => name === "drill") };
};

test("a drill brakes a canary, measures it, lets it end, and stands in health and in the ledger", async () => {
  expect((await healthOf()).lastDrill).toBeUndefined();
  expect((await healthOf()).drill).toMatchObject({ status: Health.HEALTHY, message: "none yet" });
  const { drill, auditEntryId } = await server.brakes.drillBrake({ reason: "before the release" });
  const id = canaries.at(-1) ?? "";
  expect(drill).toMatchObject({
    ok: true,
    engine: "restate",
    workflowId: `restate:${id}`,
    drilledBy: "alice",
    gates: 0,
  });
  if (!drill) return;
  for (const value of [drill.startToRunning, drill.requestToAccept, drill.requestToStandstill, drill.releaseToMoving]) {
    expect(ms(value)).toBeGreaterThanOrEqual(0);
    expect(ms(value)).toBeLessThan(10_000);
  }
  expect(ms(drill.requestToStandstill)).toBeGreaterThanOrEqual(ms(drill.requestToAccept));
  expect(drill.stepsStartedAfterAccept).toBeLessThanOrEqual(1);
  expect(drill.message).toContain(`the canary stood ${ms(drill.requestToStandstill)} ms after the request`);

  // It did stand: by the canary's own account, its steps have a gap as long as it was watched.
  await engine.untilStatus(id, "completed");
  const starts = engine.steps.of(id).filter(({ event }) => event === "start");
  expect(starts).toHaveLength(30);
  const gaps = starts.slice(1).map(({ time }, i) => time - (starts[i]?.time ?? time));
  expect(Math.max(...gaps)).toBeGreaterThanOrEqual(500);

  const { brake } = await server.brakes.getBrake({ brakeId: drill.brakeId });
  expect(brake).toMatchObject({
    state: State.RELEASED,
    engagedBy: "alice",
    auditEntryId,
    release: { releasedBy: "alice" },
  });
  await expect.poll(async () => (await healthOf()).lastDrill).toEqual(drill);
  expect((await healthOf()).drill).toMatchObject({
    status: Health.HEALTHY,
    message: expect.stringContaining(drill.message),
  });
  const { entries } = await server.audit.listAuditEntries({ action: ["brake.drill", "runtime.brake.drill"] });
  expect(entries.map(({ phase }) => phase)).toEqual([Phase.OUTCOME, Phase.SYSTEM, Phase.INTENT]);
  expect(entries[1]).toMatchObject({ target: drill.workflowId, brakeId: drill.brakeId, intentEntryId: auditEntryId });
  expect(JSON.parse(entries[1]?.message ?? "")).toMatchObject({ ok: true, requestToStandstill: expect.any(String) });
  expect(entries[2]).toMatchObject({ entryId: auditEntryId, reason: "before the release" });

  await server.restart();
  expect((await healthOf()).lastDrill).toEqual(drill);
});

test("there is one at a time, and its brake ends by itself if nobody else ends it", async () => {
  const first = drilled(2_000);
  await expect.poll(engaged).toHaveLength(1);
  const [brake] = await engaged();
  const { engageTime, expireTime } = brake ?? {};
  expect(timestampMs(expireTime ?? ({ seconds: 0n, nanos: 0 } as never)) - timestampMs(engageTime as never)).toBe(
    7_000,
  );
  await expect(drilled()).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("one at a time"),
  });
  expect(await first).toMatchObject({ ok: true });
});

test("where the caller leaves in the middle, the brake on the canary is released, and no figures are told", async () => {
  const before = await recorded();
  const leave = new AbortController();
  const call = server.brakes.drillBrake({ reason: "test" }, { signal: leave.signal });
  await expect.poll(engaged).toHaveLength(1);
  leave.abort();
  await expect(call).rejects.toMatchObject({ code: Code.Canceled });
  await engine.untilStatus(canaries.at(-1) ?? "", "running", "completed");
  expect(await engaged()).toEqual([]);
  expect(await recorded()).toBe(before);
});

test("a stop of the server ends the drill under way, and its brake is released before it is over", async () => {
  holdsNothing = true;
  const call = drilled(30_000).catch((error: unknown) => error);
  await expect.poll(engaged).toHaveLength(1);
  const began = Date.now();
  await server.close(15_000);
  expect(Date.now() - began).toBeLessThan(10_000);
  expect(await call).toMatchObject({ code: Code.Unavailable });
  await server.start();
  expect(await engaged()).toEqual([]);
  await engine.untilStatus(canaries.at(-1) ?? "", "running", "completed");
});

test("a canary that does not stand in time is a drill that failed: told in health, released all the same", async () => {
  holdsNothing = true;
  const drill = await drilled(1_000);
  holdsNothing = false;
  expect(drill).toMatchObject({ ok: false, message: "the canary was not seen to stand within 1000 ms" });
  expect(drill.requestToStandstill).toBeUndefined();
  expect(await engaged()).toEqual([]);
  await expect.poll(async () => (await healthOf()).lastDrill).toEqual(drill);
  expect(await healthOf()).toMatchObject({
    status: Health.DEGRADED,
    drill: { status: Health.DEGRADED, message: expect.stringContaining("was not seen to stand") },
  });
  expect(await drilled()).toMatchObject({ ok: true });
  await expect.poll(async () => (await healthOf()).status).toBe(Health.HEALTHY);
});

test("a canary that cannot be started is a drill that failed, with no brake", async () => {
  canary = { engine: "restate", start: () => Promise.reject(new Error("the ingress is away")) };
  expect(await drilled()).toMatchObject({
    ok: false,
    workflowId: "",
    brakeId: "",
    message: "the canary could not be started: the ingress is away",
  });
});

test("a canary that another brake holds is nothing to drill on, and no more of them are started meanwhile", async () => {
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["Steps"] }, reason: "incident" });
  const brakeId = brake?.brakeId ?? "";
  const before = await recorded();
  const held = { code: Code.FailedPrecondition, rawMessage: expect.stringContaining(brakeId) };
  await expect(drilled()).rejects.toMatchObject(held);
  const started = canaries.length;
  await expect(drilled()).rejects.toMatchObject(held);
  expect(canaries).toHaveLength(started);
  expect((await engaged()).map((one) => one.brakeId)).toEqual([brakeId]);
  expect(await recorded()).toBe(before);
  await server.brakes.releaseBrake({ brakeId, reason: "over", wait: durationFromMs(10_000) });
  expect(await drilled()).toMatchObject({ ok: true });
});

test("an engine without a canary, and one that is not there, are refused", async () => {
  await using bare = await startTestServer(engine.adminSocket).then((one) => ({
    ...one,
    [Symbol.asyncDispose]: one.stop,
  }));
  const none = bare.brakes.drillBrake({ reason: "test" });
  await expect(none).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("configure one"),
  });
  expect((await bare.control.getHealth({})).components.map(({ name }) => name)).not.toContain("drill");
  const unknown = server.brakes.drillBrake({ reason: "test", engine: "temporal" });
  await expect(unknown).rejects.toMatchObject({ code: Code.InvalidArgument });
});

test("with a gate, the drill tells that it confirmed", async () => {
  gate = createGate({ url: server.url, token: await server.gateToken("agents"), name: "test-agents" });
  await gate.ready();
  expect(await drilled()).toMatchObject({ ok: true, gates: 1, gatesConfirmed: 1 });
  gate.close();
});

test("the canary of the sample agents does for one", async () => {
  const { dataDir, adminSocket, ingressSocket } = engine;
  const agents = await startAgents({
    dataDir,
    port: await freePort(),
    adminSocket,
    ingressSocket,
    log: createLog("silent"),
    driver: false,
  });
  try {
    canary = sampleCanary("restate", ingressSocket);
    const drill = await drilled();
    expect(drill).toMatchObject({ ok: true });
    expect((await server.control.getWorkflow({ workflowId: drill.workflowId })).workflow).toMatchObject({
      type: "Canary",
    });
  } finally {
    await agents.stop();
  }
});

test("a configured canary is started by a POST; an answer that names none is a drill that is not ok", async () => {
  const answers: ((res: ServerResponse) => unknown)[] = [
    async (res) =>
      res.writeHead(202).end(JSON.stringify({ invocationId: await steps.start(AbortSignal.timeout(5_000)) })),
    (res) => res.writeHead(500).end("no such service"),
    (res) => res.writeHead(307, { location: "/elsewhere" }).end(),
    (res) => res.writeHead(202).end("{}"),
    (res) => res.writeHead(202).end("x".repeat(100_000)),
  ];
  const asked: string[] = [];
  const ingress = createServer((req, res) => {
    asked.push(`${req.method} ${req.url}`);
    answers.shift()?.(res);
  });
  await new Promise<void>((resolve) => ingress.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void ingress.close());
  const startUrl = `http://127.0.0.1:${(ingress.address() as AddressInfo).port}/Steps/run/send`;
  canary = ingressCanary({ engine: "restate", startUrl });
  expect(await drilled()).toMatchObject({ ok: true, workflowId: `restate:${canaries.at(-1)}` });
  for (const message of [
    /was answered 500: no such service/,
    /./,
    /without an invocationId/,
    /more than 65536 bytes/,
  ]) {
    expect(await drilled()).toMatchObject({ ok: false, message: expect.stringMatching(message) });
  }
  expect(asked).toEqual(Array(5).fill("POST /Steps/run/send"));
});
