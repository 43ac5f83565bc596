import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { AuditEntry_PhaseSchema, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { ComponentHealth_Status as Health } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const wait = durationFromMs(15_000);

let engine: TestEngine;
let elsewhere: string;
let server: TestServer;
let lock: DatabaseSync | undefined;
beforeAll(async () => {
  engine = await startTestEngine();
  elsewhere = mkdtempSync(join(tmpdir(), "mc-fallback-"));
});
afterEach(async () => {
  unlock();
  await server.stop();
});
afterAll(async () => {
  await engine.stop();
  rmSync(elsewhere, { recursive: true, force: true });
});

/** Another program keeps the database from being written. */
function breakDatabase(): void {
  lock = new DatabaseSync(server.databasePath);
  lock.exec("BEGIN IMMEDIATE");
}

function unlock(): void {
  lock?.close();
  lock = undefined;
}

async function awaiting(): Promise<{ invocation: string; workflowId: string }> {
  const invocation = await engine.start("Awaiter/run");
  await engine.steps.untilAwakeable(invocation);
  return { invocation, workflowId: `restate:${invocation}` };
}

test("where the ledger cannot be written a pause is refused with what is wrong, and the engine is asked for nothing", async () => {
  server = await startTestServer(engine.adminSocket);
  const { invocation, workflowId } = await awaiting();
  breakDatabase();
  const error = ConnectError.from(
    await server.control.pauseWorkflow({ workflowId, reason: "stop", wait }).catch((refused: unknown) => refused),
  );
  expect(error.code).toBe(Code.Unavailable);
  expect(error.rawMessage).toMatch(/database is locked.*nothing is done that cannot be recorded/);
  unlock();
  const { workflow } = await server.control.getWorkflow({ workflowId });
  expect(workflow).toMatchObject({ status: Status.RUNNING, holds: [] });
  await engine.resolveAwakeable(invocation, "done");
});

test("with a fallback file the brake is usable meanwhile, loudly, through a crash, and all of it is in the ledger afterwards", async () => {
  const ledgerFallbackFile = join(elsewhere, "ledger.jsonl");
  const streamed = join(elsewhere, "siem.jsonl");
  const ledgerStreams = [{ name: "siem", file: streamed }];
  server = await startTestServer(engine.adminSocket, { ledgerFallbackFile, ledgerStreams });
  const { invocation, workflowId } = await awaiting();
  breakDatabase();
  const paused = await server.control.pauseWorkflow({ workflowId, reason: "it pays twice", wait });
  expect(paused.newStatus).toBe(Status.PAUSED);
  const { components } = await server.control.getHealth({});
  expect(components.find(({ name }) => name === "ledger")).toMatchObject({
    status: Health.UNHEALTHY,
    message: expect.stringMatching(/database is locked.*\d+ entries are in the fallback file/),
  });
  const metrics = await fetch(`${server.url}/metrics`, {
    headers: { authorization: `Bearer ${await server.token()}` },
  }).then((answer) => answer.text());
  expect(metrics).toMatch(/^missioncontrol_ledger_writable 0$/m);
  expect(metrics).toMatch(/^missioncontrol_ledger_fallback_entries [1-9]/m);
  // A gate's token leaks in the very outage, and another one is needed.
  const token = { engine: "restate", reason: "the outage" };
  const { gateToken: leaked } = await server.gateTokens.createGateToken({ ...token, name: "leaked" });
  await server.gateTokens.revokeGateToken({ gateTokenId: leaked?.gateTokenId ?? "", reason: "leaked" });
  await server.gateTokens.createGateToken({ ...token, name: "good" });
  // It stops and starts while the database still cannot be written: the brake stands, and is usable.
  await server.close();
  await server.start();
  const { workflow } = await server.control.getWorkflow({ workflowId });
  expect(workflow).toMatchObject({ status: Status.PAUSED, holds: [{ brakeId: paused.brakeId }] });
  const after = await server.control.getHealth({});
  expect(after.components.find(({ name }) => name === "ledger")).toMatchObject({
    status: Health.UNHEALTHY,
    message: expect.stringMatching(/database is locked.*\d+ entries are in the fallback file/),
  });
  const tokens = async () => {
    const { gateTokens } = await server.gateTokens.listGateTokens({ includeRevoked: true });
    return gateTokens.map(({ name, revokedBy }) => [name, revokedBy]);
  };
  expect(await tokens()).toEqual([
    ["good", ""],
    ["leaked", "alice"],
  ]);
  const second = await awaiting();
  const again = await server.control.pauseWorkflow({ workflowId: second.workflowId, reason: "that one too", wait });
  expect(again.newStatus).toBe(Status.PAUSED);
  unlock();
  await expect
    .poll(async () => (await server.control.getHealth({})).components.find(({ name }) => name === "ledger")?.status)
    .toBe(Health.HEALTHY);
  expect(await tokens()).toEqual([
    ["good", ""],
    ["leaked", "alice"],
  ]);
  const { entries } = await server.audit.listAuditEntries({ target: workflowId });
  // Whether the engine's acceptance was seen before the standstill is a matter of moments.
  const told = entries.reverse().filter(({ phase, action }) => phase !== Phase.READ && action !== "brake.accepted");
  expect(
    told.map(({ phase, action, fromFallback }) => [AuditEntry_PhaseSchema.value[phase]?.name, action, fromFallback]),
  ).toEqual([
    ["INTENT", "runtime.pause", true],
    ["SYSTEM", "brake.engaged", true],
    ["SYSTEM", "brake.standstill", true],
    ["OUTCOME", "runtime.pause", true],
  ]);
  const { entries: words } = await server.audit.listAuditEntries({
    action: ["ledger.fallback_began", "ledger.fallback_merged"],
  });
  expect(words).toHaveLength(2);
  const { receipt } = await server.audit.getAuditReceipt({ entryId: paused.auditEntryId });
  expect(receipt).toBeDefined();
  // What is merged is streamed like anything else.
  await expect.poll(() => readFileSync(streamed, "utf8"), { timeout: 10_000 }).toContain(paused.auditEntryId);
  const { components: parts } = await server.control.getHealth({});
  expect(parts.find(({ name }) => name === "ledger/stream/siem")).toMatchObject({ status: Health.HEALTHY });
  await server.control.resumeWorkflow({ workflowId, reason: "fixed", wait });
  await server.control.resumeWorkflow({ workflowId: second.workflowId, reason: "fixed", wait });
  await engine.resolveAwakeable(invocation, "done");
  await engine.resolveAwakeable(second.invocation, "done");
});
