import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { ComponentHealth_Status as Health } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { Engine } from "../../src/engines/engine.ts";
import { MissionControlError } from "../../src/errors.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { entriesOf, toldOf } from "./ledger.ts";

let engine: TestEngine;
let server: TestServer;
/** True: the engine does not answer the reconciler. */
let away = false;
const errors: { msg: string; brakeId?: string }[] = [];
const wait = durationFromMs(10_000);

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket, {
    log: pino({ level: "error" }, { write: (line: string) => errors.push(JSON.parse(line)) }),
    through,
    blastRadius: { sre_admin: 0 },
    canaries: [{ engine: "restate", start: () => engine.start("Steps/run", { count: 30, ms: 50 }) }],
  });
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

function through(real: Engine): Engine {
  return new Proxy(real, {
    get(target, name) {
      if (name === "open" && away) return () => Promise.reject(new MissionControlError("ENGINE_UNAVAILABLE", "away"));
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function get(options: { token?: string; method?: string; path?: string } = {}) {
  const { token, method = "GET", path = "/metrics" } = options;
  const callId = randomUUID();
  const headers = { "x-request-id": callId, ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(server.url + path, { method, headers });
  return { status: answer.status, type: answer.headers.get("content-type"), body: await answer.text(), callId };
}

/** "name{labels}" → value. */
async function scrape(): Promise<Map<string, number>> {
  const { status, body } = await get({ token: await server.token(["viewer"], "prometheus") });
  expect(status).toBe(200);
  const values = new Map<string, number>();
  for (const line of body.split("\n").filter((each) => each !== "" && !each.startsWith("#"))) {
    const [, name = "", value] = /^([a-z_]+(?:\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})?) (\S+)$/.exec(line) ?? [];
    expect(name, line).not.toBe("");
    values.set(name.replace("missioncontrol_", ""), Number(value));
  }
  return values;
}

const component = async (name: string) =>
  (await server.control.getHealth({})).components.find((one) => one.name === name);

test("nobody gets them without a token, a role with health.read, and an entry in the ledger", async () => {
  const anonymous = await get();
  expect(anonymous).toMatchObject({
    status: 401,
    type: "application/json",
    body: expect.stringContaining("TOKEN_MISSING"),
  });
  expect(await toldOf(server, anonymous.callId)).toEqual(["DENIED TOKEN_MISSING"]);

  const forged = await get({ token: `${(await server.token()).split(".").slice(0, 2).join(".")}.c2lnbmF0dXJl` });
  expect(forged).toMatchObject({ status: 401, body: expect.stringContaining("TOKEN_INVALID") });
  expect(await toldOf(server, forged.callId)).toEqual(["DENIED TOKEN_INVALID"]);

  const gate = await get({ token: await server.token(["gate"], "worker") });
  expect(gate).toMatchObject({ status: 403, body: expect.stringContaining("ROLE_DENIED") });
  expect(gate.body).not.toContain("missioncontrol_");
  expect(await toldOf(server, gate.callId)).toEqual(["DENIED ROLE_DENIED"]);

  const viewer = await get({ token: await server.token(["viewer"], "prometheus") });
  expect(viewer).toMatchObject({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
  const entries = await entriesOf(server, viewer.callId);
  expect(await toldOf(server, viewer.callId)).toEqual(["READ"]);
  expect(entries[0]).toMatchObject({
    action: "runtime.metrics",
    method: "missioncontrol.metrics.v1.Metrics/GetMetrics",
    protocol: "rest",
    principal: { subject: "prometheus" },
    decision: { allowed: true },
  });
});

test("it is GET or HEAD at that one path, and none of the RPC protocols", async () => {
  const token = await server.token(["viewer"]);
  expect(await get({ token, method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  const post = await get({ token, method: "POST" });
  expect(post).toMatchObject({ status: 405, body: expect.stringContaining("METHOD_NOT_ALLOWED") });
  expect(await toldOf(server, post.callId)).toEqual(["DENIED METHOD_NOT_ALLOWED"]);
  for (const path of ["/metrics/", "/missioncontrol.metrics.v1.Metrics/GetMetrics"]) {
    expect(await get({ token, path })).toMatchObject({ status: 404 });
  }
});

test("every metric is in docs/metrics.md, and nothing else is", async () => {
  const { body } = await get({ token: await server.token(["viewer"]) });
  const told = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  const docs = readFileSync(join(import.meta.dirname, "../../docs/metrics.md"), "utf8");
  const documented = [...docs.matchAll(/^\| `(missioncontrol_\w+)` \| (\w+)/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  expect(told.length).toBeGreaterThan(9);
  expect(documented.sort()).toEqual(told.sort());
});

test("holds, standstills, brakes and calls are told as they are", async () => {
  const before = await scrape();
  expect(before).toEqual(
    new Map([
      ...before,
      ['holds{state="standing"}', 0],
      ['brakes{state="ENGAGED"}', 0],
      ['brakes{state="AWAITING_APPROVAL"}', 0],
      ["brakes_emergency_unapproved", 0],
      ["standstill_seconds_count", 0],
      ["ledger_writable", 1],
      ["ledger_open_intents", 0],
      ['gates_attached{engine="restate"}', 0],
      ['reconciler_lag_seconds{engine="restate"}', 0],
    ]),
  );
  const workflowId = await engine.start("Steps/run", { count: 30, ms: 50 });
  await server.control.pauseWorkflow({ workflowId, reason: "test", wait });
  const held = await scrape();
  expect(held.get('holds{state="standing"}')).toBe(1);
  expect(held.get('holds{state="halting"}')).toBe(0);
  expect(held.get('brakes{state="ENGAGED"}')).toBe(1);
  expect(held.get("standstill_seconds_count")).toBe(1);
  expect(held.get("standstill_seconds_sum")).toBeGreaterThan(0);
  expect(held.get("standstill_seconds_sum")).toBeLessThan(10);
  expect(held.get('calls_total{method="missioncontrol.v1.MissionControl/PauseWorkflow",code="OK"}')).toBe(1);
  expect(held.get('reconciler_round_seconds{engine="restate"}')).toBeGreaterThan(0);
  expect(held.get('reconciler_lag_seconds{engine="restate"}')).toBeLessThan(5);
  await server.control.resumeWorkflow({ workflowId, reason: "test", wait });
  await expect.poll(async () => (await scrape()).get('brakes{state="RELEASED"}')).toBe(0);
  const after = await scrape();
  expect(after.get('holds{state="standing"}')).toBe(0);
  expect(after.get("standstill_seconds_count")).toBe(1);
});

test("what a stranger sends counts, each call once, and becomes no label", async () => {
  const refused = (all: ReadonlyMap<string, number>) =>
    [...all]
      .filter(([key]) => /^calls_total\{.*"UNAUTHENTICATED"/.test(key))
      .reduce((sum, [, count]) => sum + count, 0);
  const before = refused(await scrape());
  for (const path of ["/v1/anything", "/v1/workflows", "/metrics"]) await get({ path: `${path}?x=y` });
  const after = await scrape();
  expect(refused(after)).toBe(before + 3);
  expect([...after.keys()].join()).not.toContain("anything");
});

test("while a round cannot be done, the lag grows, and is back when it can", async () => {
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["NoSuchType"] }, reason: "test" });
  const lag = async () => (await scrape()).get('reconciler_lag_seconds{engine="restate"}') ?? 0;
  away = true;
  await expect.poll(lag, { timeout: 10_000 }).toBeGreaterThan(0.6);
  away = false;
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test", wait });
  await expect.poll(lag, { timeout: 10_000 }).toBe(0);
});

test("an emergency that nobody approved is loud in metrics, health, log and ledger, until somebody does", async () => {
  const id = await engine.start("SuspendedAwaiter/run");
  await engine.untilStatus(id, "suspended");
  const told = () => errors.filter(({ msg }) => msg.startsWith("EMERGENCY"));
  const engaging = { selector: { types: ["SuspendedAwaiter"] }, reason: "keys leaked", emergency: true };
  const { brake } = await server.brakes.engageBrake(engaging);
  const brakeId = brake?.brakeId ?? "";
  expect(brake?.state).toBe(State.ENGAGED);
  expect((await scrape()).get("brakes_emergency_unapproved")).toBe(1);
  expect(told()).toMatchObject([{ brakeId, engagedBy: "alice", reason: "keys leaked", holds: 1, needsApproval: true }]);
  await expect
    .poll(() => component("brakes"))
    .toMatchObject({
      status: Health.DEGRADED,
      message: expect.stringContaining(`EMERGENCY ${brakeId} by alice`),
    });
  const { entries } = await server.audit.listAuditEntries({ action: ["runtime.brake", "brake.engaged"], pageSize: 10 });
  const loud = entries.filter((entry) => entry.brakeId === brakeId && entry.emergency);
  expect(new Set(loud.map(({ action }) => action))).toEqual(new Set(["runtime.brake", "brake.engaged"]));
  const bob = await server.brakesAs("bob", "sre_admin");
  await bob.approveBrake({ brakeId, reason: "seen it too" });
  expect((await scrape()).get("brakes_emergency_unapproved")).toBe(0);
  await expect.poll(() => component("brakes")).toMatchObject({ status: Health.HEALTHY, message: "1 engaged" });
  await bob.releaseBrake({ brakeId, reason: "over", wait });
  expect(told()).toHaveLength(1);
});

test("a brake that has outgrown who engaged it is told in health, until somebody approves it", async () => {
  const { brake } = await server.brakes.engageBrake({ selector: { types: ["Queue"] }, reason: "none yet" });
  const brakeId = brake?.brakeId ?? "";
  expect(await component("brakes")).toMatchObject({ status: Health.HEALTHY });
  const id = await engine.start("Queue/outgrown/work", { count: 1, ms: 500 });
  await expect
    .poll(() => component("brakes"), { timeout: 10_000 })
    .toMatchObject({
      status: Health.DEGRADED,
      message: `to be approved by a second person, or released: ${brakeId} by alice`,
    });
  const bob = await server.brakesAs("bob", "sre_admin");
  await bob.approveBrake({ brakeId, reason: "seen it too" });
  await expect.poll(() => component("brakes")).toMatchObject({ status: Health.HEALTHY, message: "1 engaged" });
  await bob.releaseBrake({ brakeId, reason: "over", wait });
  await engine.untilStatus(id, "completed");
});

test("the last drill's standstill is there once there was one", async () => {
  const key = 'drill_standstill_seconds{engine="restate"}';
  expect((await scrape()).get(key)).toBeUndefined();
  const { drill } = await server.brakes.drillBrake({ reason: "test", wait });
  expect(drill?.ok).toBe(true);
  const { seconds = 0n, nanos = 0 } = drill?.requestToStandstill ?? {};
  expect((await scrape()).get(key)).toBeCloseTo(Number(seconds) + nanos / 1e9, 6);
});
