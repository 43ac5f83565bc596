import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  type Brake as BrakeView,
  WatchBrakeResponse_Kind as Kind,
  Brake_State as State,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Lifecycle } from "../../src/brakes/lifecycle.ts";
import { EngineRegistry } from "../../src/engines/registry.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import type { Brake } from "../../src/store/brake.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const log = createLog("silent");

test("an emergency that nobody approves in time is released; one that was approved stays", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-lifecycle-"));
  const store = openSqlite(join(dir, "db"));
  const brakes = await Brakes.open(store, createLedger(store, log));
  const lifecycle = new Lifecycle(brakes, new EngineRegistry([]), 60_000, log);
  onTestFinished(async () => {
    await lifecycle.stop();
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const engaged = [emergency("br_waits", ""), emergency("br_approved", "bob")];
  await brakes.update("brake.engaged", { brakes: engaged }, { message: "", reason: "fire", emergency: true });
  lifecycle.start();
  await vi.waitFor(() => expect(brakes.active("br_waits")).toBeUndefined(), { timeout: 10_000 });
  expect(await store.brake("br_waits")).toMatchObject({ state: "RELEASED", release: { by: "" } });
  expect(brakes.active("br_approved")).toMatchObject({ state: "ENGAGED" });
  const { entries } = await store.listEntries({ actions: ["brake.unapproved"], limit: 10 });
  expect(entries).toMatchObject([{ brakeId: "br_waits", emergency: true }]);
});

describe("on an engine", () => {
  const wait = durationFromMs(20_000);
  let engine: TestEngine;
  let server: TestServer;
  beforeAll(async () => {
    engine = await startTestEngine();
    server = await startTestServer(engine.adminSocket, { longestBrakeMs: 60_000 });
  });
  afterAll(async () => {
    await server?.stop();
    await engine?.stop();
  });

  const engage = async (selector: object, expiresIn?: number): Promise<BrakeView> => {
    const times = expiresIn === undefined ? {} : { expiresIn: durationFromMs(expiresIn) };
    const { brake } = await server.brakes.engageBrake({ selector, reason: "test", wait, ...times });
    if (!brake) throw new Error("no brake in the answer");
    return brake;
  };
  const release = (brakeId: string) => server.brakes.releaseBrake({ brakeId, reason: "test", wait });
  const ms = (time: Timestamp | undefined) => (time ? timestampMs(time) : Number.NaN);
  const until = async (
    brakeId: string,
    is: (event: { kind: Kind; brake: BrakeView }) => boolean,
  ): Promise<BrakeView> => {
    for await (const { kind, brake } of server.brakes.watchBrake({ brakeId }, { timeoutMs: 25_000 })) {
      if (brake && is({ kind, brake })) return brake;
    }
    throw new Error("the watch ended before");
  };
  const entriesOf = async (brakeId: string, ...action: string[]) => {
    const { entries } = await server.audit.listAuditEntries({ action, pageSize: 1_000 });
    return entries.filter((entry) => entry.brakeId === brakeId).toReversed();
  };
  const awaiter = async () => {
    const id = await engine.start("Awaiter/run");
    await engine.steps.untilAwakeable(id);
    return id;
  };

  test("a brake that expires warns once, lets go only what it held alone, and survives a restart in between", async () => {
    const [both, alone] = [await awaiter(), await awaiter()];
    const older = await engage({ workflowIds: [`restate:${both}`, `restate:${alone}`] }, 3_000);
    const newer = await engage({ workflowIds: [`restate:${both}`] });
    await until(older.brakeId, ({ kind }) => kind === Kind.EXPIRES_SOON);
    await server.restart();
    const over = await until(older.brakeId, ({ kind }) => kind === Kind.OVER);
    expect(over).toMatchObject({ state: State.EXPIRED, release: { releasedBy: "", reason: "its time ran out" } });
    expect(ms(over.release?.releaseTime)).toBeGreaterThanOrEqual(ms(older.expireTime));
    await engine.untilStatus(alone, "running", "suspended");
    const { workflow } = await server.control.getWorkflow({ workflowId: both });
    expect(workflow).toMatchObject({ status: Status.PAUSED, holds: [{ brakeId: newer.brakeId }] });
    const told = await entriesOf(older.brakeId, "brake.expires-soon", "brake.expired");
    expect(told.map(({ action }) => action)).toEqual(["brake.expires-soon", "brake.expired"]);
    expect(await entriesOf(newer.brakeId, "brake.expires-soon", "brake.expired")).toEqual([]);
    await release(newer.brakeId);
  });

  test("a brake whose time runs out while the server is down is over as soon as it is back", async () => {
    const id = await awaiter();
    const brake = await engage({ workflowIds: [`restate:${id}`] }, 1_000);
    await server.close();
    await delay(Math.max(0, ms(brake.expireTime) - Date.now()));
    expect(await engine.status(id)).toBe("paused");
    await server.start();
    await engine.untilStatus(id, "running", "suspended");
    expect((await server.brakes.getBrake({ brakeId: brake.brakeId })).brake?.state).toBe(State.EXPIRED);
  });

  test("no brake holds longer than is allowed: more is refused, and one that asks for nothing expires by then", async () => {
    await expect(engage({ types: ["NoSuchType"] }, 60_001)).rejects.toThrow(/at most 60 s/);
    const brake = await engage({ types: ["NoSuchType"] });
    expect(ms(brake.expireTime) - ms(brake.engageTime)).toBe(60_000);
    await release(brake.brakeId);
    const id = await awaiter();
    const pause = { workflowId: id, reason: "test", wait };
    await expect(server.control.pauseWorkflow({ ...pause, expiresIn: durationFromMs(60_001) })).rejects.toThrow(
      /at most/,
    );
    await server.control.pauseWorkflow(pause);
    const { workflow } = await server.control.getWorkflow({ workflowId: id });
    const [hold] = workflow?.holds ?? [];
    expect(ms(hold?.expireTime) - ms(hold?.engageTime)).toBe(60_000);
    await server.control.resumeWorkflow(pause);
  });

  test("a staged release goes on while no more fail than may, each stage watched for its time, and then brakes again and says so", async () => {
    const types = ["Failing", "SuspendedAwaiter"];
    const { brakeId } = await engage({ types });
    // In the order in which they are caught they are let go.
    const bad: string[] = [];
    for (let n = 1; n <= 2; n++) {
      bad.push(await engine.start("Failing/run", { ms: 1_000 }));
      await until(brakeId, ({ brake }) => brake.receipt?.standing === n);
    }
    const good: string[] = [];
    for (let n = 3; n <= 4; n++) {
      good.push(await engine.start("SuspendedAwaiter/run", { stepMs: 500 }));
      await until(brakeId, ({ brake }) => brake.receipt?.standing === n);
    }
    const staged = { percent: 25, watch: durationFromMs(1_000), maxFailures: 1 };
    await server.brakes.releaseBrake({ brakeId, reason: "carefully", staged });
    const taken = await until(brakeId, ({ brake }) => (brake.release?.haltedBecause ?? "") !== "");
    expect(taken).toMatchObject({
      state: State.ENGAGED,
      release: { haltedBecause: "2 of 2 released workflows failed (at most 1 may)" },
    });
    for (const id of good) expect(await engine.status(id)).toBe("paused");
    for (const id of bad) expect(await engine.status(id)).toBe("completed");
    const told = await entriesOf(brakeId, "brake.stage", "brake.braked-again");
    expect(told.map(({ action }) => action)).toEqual(["brake.stage", "brake.stage", "brake.braked-again"]);
    const [first = Number.NaN, second = Number.NaN, third = Number.NaN] = told.map(({ time }) => ms(time));
    expect(second - first).toBeGreaterThanOrEqual(1_000);
    expect(third - second).toBeGreaterThanOrEqual(1_000);
    await release(brakeId);
  });

  test("what kept failing before it was held is no failure of a staged release", async () => {
    const id = await engine.start("Flaky/run", { failures: 1_000 });
    await engine.untilStatus(id, "backing-off");
    const { brakeId } = await engage({ workflowIds: [`restate:${id}`] });
    const staged = { percent: 100, watch: durationFromMs(1_500), maxFailures: 0 };
    await server.brakes.releaseBrake({ brakeId, reason: "carefully", staged });
    const over = await until(
      brakeId,
      ({ brake }) => brake.state === State.RELEASED || brake.release?.haltedBecause !== "",
    );
    expect(over).toMatchObject({ state: State.RELEASED, release: { haltedBecause: "" } });
    await engine.admin("PATCH", `/invocations/${id}/kill`);
  });
});

function emergency(brakeId: string, approvedBy: string): Brake {
  const now = Date.now();
  return {
    brakeId,
    selector: { types: ["Steps"] },
    workflowId: "",
    includeDescendants: true,
    state: "ENGAGED",
    reason: "fire",
    ticket: "",
    emergency: true,
    engagedBy: "sam",
    issuer: "test",
    radius: 1,
    createTime: now,
    engageTime: now,
    expiresInMs: undefined,
    expiryWarned: false,
    engageEntryId: "",
    approval: {
      matched: 2,
      setHash: "",
      ids: [],
      tolerance: 5,
      approvedBy,
      approveTime: undefined,
      approveEntryId: "",
      approveBy: now + 100,
    },
    release: undefined,
    gates: [],
  };
}
