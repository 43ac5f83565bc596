import { ConnectError } from "@connectrpc/connect";
import { afterEach, expect, it } from "vitest";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../../src/errors.ts";
import { auditRefusal } from "../../src/interceptors/audit-refusal.ts";
import type { Call } from "../../src/interceptors/context.ts";
import { toConnectError } from "../../src/interceptors/errors.ts";
import { startServer, type TestServer } from "./server.ts";

let server: TestServer;
afterEach(() => server.close());
const call = (): Call => ({
  id: "call-1",
  protocol: "rest",
  method: "GET /v1/nowhere",
  startTime: Date.now(),
  source: "192.0.2.7",
  clientCertificateThumbprint: undefined,
  audited: false,
});

it("a refusal at the port is recorded once, with how and from where it came", async () => {
  server = await startServer();
  const refused = call();
  const error = toConnectError(new MissionControlError("UNKNOWN_PATH", "there is nothing at /v1/nowhere"));
  await auditRefusal(server.refusals)(refused, error);
  await auditRefusal(server.refusals)(refused, error);
  const [entry, ...rest] = await server.entries();
  expect(rest).toEqual([]);
  expect(entry).toMatchObject({
    phase: AuditEntry_Phase.DENIED,
    action: "unknown",
    method: "GET /v1/nowhere",
    protocol: "rest",
    callId: "call-1",
    resultCode: "NOT_FOUND",
    errorReason: "UNKNOWN_PATH",
    message: "there is nothing at /v1/nowhere",
    principal: { subject: "", sourceAddress: "192.0.2.7" },
  });
  expect(refused.audited).toBe(true);
});

it("a refusal that cannot be recorded is itself refused", async () => {
  server = await startServer();
  await server.store.close();
  const refused = call();
  await expect(auditRefusal(server.refusals)(refused, new ConnectError("no"))).rejects.toMatchObject({
    reason: "LEDGER_UNAVAILABLE",
  });
  expect(refused.audited).toBe(false);
});
