import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { until } from "../fixture/dev-process.ts";
import { call, doorOf, doorsOf } from "../fixture/protocols.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { entriesOf, told, toldOf } from "./ledger.ts";

const { createGateToken, listGateTokens, revokeGateToken } = GateTokens.method;

let server: TestServer;
let logged = "";
// The engine is not there: tokens need none.
beforeAll(async () => {
  const write = (line: string) => {
    logged += line;
  };
  server = await startTestServer("/nowhere/admin.sock", { log: pino({ level: "trace" }, { write }) });
});
afterAll(() => server.stop());

const gates: Gate[] = [];
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close();
});
const attach = (token: string, engine = "restate"): { gate: Gate; lines: string[] } => {
  const lines: string[] = [];
  const gate = createGate({ url: server.url, token, engine, name: "g", log: (line) => lines.push(line) });
  // Nobody waits for those that never attach.
  gate.ready().catch(() => {});
  gates.push(gate);
  return { gate, lines };
};
const admin = async (callId = randomUUID()) => ({ token: await server.token(["sre_admin"], "alice"), callId });
const make = async (more: { name?: string; expiresIn?: { seconds: bigint; nanos: number } } = {}) => {
  const request = { name: `t-${randomUUID()}`, engine: "restate", reason: "new worker", ...more };
  const { messages } = await call(doorOf(createGateToken, "grpc"), server.url, request as never, await admin());
  const [{ gateToken, secret } = { gateToken: undefined, secret: "" }] = messages;
  if (gateToken === undefined) throw new Error("no token was made");
  return { ...gateToken, secret };
};
const list = async (includeRevoked = false) => {
  const { messages } = await call(doorOf(listGateTokens, "rest"), server.url, { includeRevoked }, await admin());
  return messages[0]?.gateTokens ?? [];
};
const revoke = async (gateTokenId: string, sent?: Awaited<ReturnType<typeof admin>>) =>
  call(
    doorOf(revokeGateToken, "connect"),
    server.url,
    { gateTokenId, reason: "worker is gone" },
    sent ?? (await admin()),
  );

describe.each(doorsOf(createGateToken))("made over $name", (door) => {
  test("it lets a gate attach, and the ledger has who made it, what for and why", async () => {
    const sent = await admin();
    const name = `agents-${randomUUID()}`;
    const { code, messages } = await call(door, server.url, { name, engine: "restate", reason: "new worker" }, sent);
    expect(code).toBe("OK");
    const [{ gateToken, secret } = { gateToken: undefined, secret: "" }] = messages;
    expect(secret).toMatch(/^mcgt_[A-Za-z0-9_-]{43}$/);
    expect(gateToken).toMatchObject({ name, engine: "restate", createdBy: "alice", revokedBy: "", attachedGates: 0 });
    await attach(secret).gate.ready();
    expect((await list()).find((one) => one.name === name)?.attachedGates).toBe(1);
    const [intent, outcome] = await entriesOf(server, sent.callId);
    expect([intent, outcome].map((entry) => entry && told(entry))).toEqual(["INTENT", "OUTCOME OK"]);
    expect(intent).toMatchObject({
      action: "gate_token.create",
      reason: "new worker",
      principal: { subject: "alice" },
    });
    const target = gateToken?.gateTokenId ?? "";
    const { entries } = await server.audit.listAuditEntries({ target, phase: [Phase.SYSTEM] });
    expect(entries).toMatchObject([
      { action: "gate_token.created", intentEntryId: intent?.entryId, engine: "restate", reason: "new worker" },
    ]);
  });
});

test("the secret is shown once: it is in no list, no log, no ledger and no file", async () => {
  const { secret, gateTokenId } = await make();
  await attach(secret).gate.ready();
  await revoke(gateTokenId);
  const places = [
    JSON.stringify(await list(true), (_, value) => (typeof value === "bigint" ? String(value) : value)),
    logged,
  ];
  for (const entry of readdirSync(server.dataDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) places.push(readFileSync(join(entry.parentPath, entry.name), "latin1"));
  }
  expect(places.filter((text) => text.includes(secret) || text.includes(secret.slice(5)))).toEqual([]);
});

test("two tokens are never alike, and none is short of 256 bits", async () => {
  const secrets = [(await make()).secret, (await make()).secret];
  expect(new Set(secrets).size).toBe(2);
  expect(Buffer.from(secrets[0]?.slice(5) ?? "", "base64url")).toHaveLength(32);
});

describe("it opens nothing but the Gate service, and nothing else opens that", () => {
  test.each(doorsOf(MissionControl.method.listWorkflows))(
    "a gate token on the API for people, over $name",
    async (door) => {
      const { secret } = await make();
      const callId = randomUUID();
      const answer = await call(door, server.url, {}, { token: secret, callId });
      expect(answer).toMatchObject({ code: "UNAUTHENTICATED", reason: "TOKEN_MALFORMED" });
      expect(answer.message).toContain("a gate token is for attaching gates, and opens nothing else");
      expect(await toldOf(server, callId)).toEqual(["DENIED TOKEN_MALFORMED"]);
    },
  );

  test.each(["sre_admin", "gate"])("a token of a person with the role %s on the Gate service", async (role) => {
    const { lines, gate } = attach(await server.token([role]));
    await until("it is refused", () => lines.length > 0);
    expect(lines[0]).toContain("gates attach with a gate token (mctl gate token create), and with nothing else");
    expect(gate.state().connected).toBe(false);
  });

  test.each([
    [
      "of which a character is another one",
      (secret: string) => secret.slice(0, -2) + (secret.at(-2) === "A" ? "B" : "A") + secret.at(-1),
    ],
    ["that nobody made", () => `mcgt_${"A".repeat(43)}`],
  ])("a token %s", async (_, change) => {
    const { lines } = attach(change((await make()).secret));
    await until("it is refused", () => lines.length > 0);
    expect(lines[0]).toContain("there is no such gate token");
  });
});

test("a revoked one detaches its gates within seconds, for good; revoking it again changes nothing", async () => {
  const { secret, gateTokenId, name } = await make();
  const { gate, lines } = attach(secret);
  await gate.ready();
  const { messages } = await revoke(gateTokenId);
  expect(messages[0]?.gateToken).toMatchObject({ revokedBy: "alice" });
  await until("it is detached", () => !gate.state().connected);
  expect(lines.at(-1)).toContain(`the gate token "${name}" was revoked`);
  const before = (await list(true)).find((one) => one.gateTokenId === gateTokenId)?.revokeTime;
  const sent = await admin();
  expect((await revoke(gateTokenId, sent)).messages[0]?.gateToken?.revokeTime).toEqual(before);
  expect(await toldOf(server, sent.callId)).toEqual(["INTENT", "OUTCOME OK"]);
  expect((await list()).map((one) => one.gateTokenId)).not.toContain(gateTokenId);
});

test("a name is free again once its token is revoked, not before", async () => {
  const { name, gateTokenId } = await make();
  const request = { name, engine: "restate", reason: "again" };
  const again = async () => call(doorOf(createGateToken, "grpc"), server.url, request, await admin());
  expect(await again()).toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "GATE_TOKEN_EXISTS",
    metadata: { gate_token_id: gateTokenId },
  });
  await revoke(gateTokenId);
  expect((await again()).code).toBe("OK");
});

test("of many who ask for the same name at once, one gets it", async () => {
  const request = { name: `race-${randomUUID()}`, engine: "restate", reason: "race" };
  const sent = await Promise.all(Array.from({ length: 20 }, () => admin()));
  const answers = await Promise.all(sent.map((one) => call(doorOf(createGateToken, "grpc"), server.url, request, one)));
  expect(answers.map(({ code }) => code).sort()).toEqual([...Array(19).fill("ALREADY_EXISTS"), "OK"]);
});

test("one that ends by itself says when", async () => {
  const { createTime, expireTime } = await make({ expiresIn: { seconds: 3600n, nanos: 0 } });
  if (createTime === undefined || expireTime === undefined) throw new Error("it has no end");
  expect(timestampMs(expireTime) - timestampMs(createTime)).toBe(3_600_000);
});

test.each([
  ["a name with a space", { name: "a b" }, "INVALID_ARGUMENT"],
  ["no name", { name: "" }, "INVALID_ARGUMENT"],
  ["an engine that is not there", { engine: "temporal" }, "UNKNOWN_ENGINE"],
  ["no reason", { reason: " " }, "INVALID_ARGUMENT"],
  ["an end in no time", { expiresIn: { seconds: 1n, nanos: 0 } }, "INVALID_ARGUMENT"],
])("%s is refused", async (_, wrong, reason) => {
  const request = { name: "n", engine: "restate", reason: "r", ...wrong };
  const answer = await call(doorOf(createGateToken, "rest"), server.url, request as never, await admin());
  expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason });
});

test("what is not there cannot be revoked", async () => {
  expect(await revoke("gt_nowhere")).toMatchObject({ code: "NOT_FOUND", reason: "GATE_TOKEN_NOT_FOUND" });
});

test("tokens outlive the server", async () => {
  const { secret } = await make();
  const { secret: gone, gateTokenId } = await make();
  await revoke(gateTokenId);
  await server.restart();
  await attach(secret).gate.ready();
  const { lines } = attach(gone);
  await until("it is refused", () => lines.length > 0);
  expect(lines[0]).toContain("was revoked");
});
