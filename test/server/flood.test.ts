import { afterAll, beforeAll, expect, test } from "vitest";
import { type AuditEntry, AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { call, doorsOf } from "../fixture/protocols.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const limits = { windowMs: 3_600_000, perCaller: 5, inAll: 100 };
let server: TestServer;
// No engine: refusals never get that far.
beforeAll(async () => {
  server = await startTestServer("/nowhere/admin.sock", { refusalLimits: limits });
});
afterAll(() => server.stop());

const denied = async (): Promise<AuditEntry[]> =>
  (await server.audit.listAuditEntries({ phase: [AuditEntry_Phase.DENIED], pageSize: 1000 })).entries;
const doors = doorsOf(MissionControl.method.pauseWorkflow);
const request = { workflowId: "restate:inv_1", reason: "test" };

test("a flood without a token, over every protocol, is answered as ever, and is in the ledger to the last call", async () => {
  const calls = Array.from({ length: 20 }, () => doors).flat();
  for (const door of calls) {
    expect(await call(door, server.url, request)).toMatchObject({ code: "UNAUTHENTICATED", reason: "TOKEN_MISSING" });
  }
  expect(await denied()).toHaveLength(limits.perCaller);

  const runaway = await server.token(["viewer"], "runaway");
  for (const door of calls) {
    expect(await call(door, server.url, request, { token: runaway })).toMatchObject({ reason: "ROLE_DENIED" });
  }
  expect(await denied()).toHaveLength(2 * limits.perCaller);

  // Whoever is refused nothing notices nothing of it.
  const { entries } = await server.audit.listAuditEntries({});
  expect(entries.length).toBeGreaterThan(0);

  await server.restart();
  const sums = (await denied()).filter(({ count }) => count > 0n);
  const counted = sums.map(({ principal, action, errorReason, count }) => [
    principal?.subject,
    action,
    errorReason,
    Number(count),
  ]);
  expect(counted.sort()).toEqual([
    ["", "runtime.pause", "TOKEN_MISSING", calls.length - limits.perCaller],
    ["runaway", "runtime.pause", "ROLE_DENIED", calls.length - limits.perCaller],
  ]);
});
