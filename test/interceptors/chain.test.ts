import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { create } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { AuditEntry_Phase, AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { createChain } from "../../src/interceptors/chain.ts";
import { openPolicy } from "../../src/policy/open.ts";
import { failure, protocols, startServer, type TestServer, told, workflow } from "./server.ts";

let server: TestServer;
afterEach(() => server.close());
const pause = { workflowId: "inv_1", reason: "it pays twice" };
const client = (protocol: (typeof protocols)[number] = "grpc") =>
  createClient(MissionControl, server.transport(protocol));
async function drain(stream: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of stream) count += 1;
  return count;
}

it("the links stand in the order of the design", async () => {
  server = await startServer();
  const unused = undefined as never;
  const chain = createChain({
    services: [],
    log: unused,
    ledger: unused,
    refusals: unused,
    lateOutcomes: unused,
    verifier: { verify: unused, onDoubt: unused },
    gateTokens: { verify: unused, onDoubt: unused },
    access: unused,
    policy: unused,
    resolveTarget: unused,
    resolveBrake: unused,
  });
  expect(chain.map(({ name }) => name)).toEqual([
    "requestId",
    "log",
    "errors",
    "auditOutcome",
    "authenticate",
    "authorize",
    "validate",
    "signature",
    "target",
    "policy",
    "auditIntent",
  ]);
});

describe.each(protocols)("by %s", (protocol) => {
  it("a control call has an intent and an outcome that say who, what, why and how", async () => {
    server = await startServer();
    const headers = { ...(await server.as("sre")).headers, "x-request-id": "call-1" };
    const requestId = "7d1f4b34-3a3e-4a64-9d42-6a3a4a3d4f0a";
    await client(protocol).pauseWorkflow({ ...pause, emergency: true, requestId }, { headers });
    const [intent, outcome, ...rest] = await server.entries();
    expect(rest).toEqual([]);
    const same = {
      principal: { issuer: "mission-control-dev", subject: "alice", roles: ["sre"], sourceAddress: "127.0.0.1" },
      action: "runtime.pause",
      method: "missioncontrol.v1.MissionControl/PauseWorkflow",
      protocol,
      target: "restate:inv_1",
      engine: "restate",
      callId: "call-1",
      requestId,
      reason: "it pays twice",
      emergency: true,
      decision: { allowed: true, policyIds: ["control"] },
    };
    expect(intent).toMatchObject({ ...same, phase: AuditEntry_Phase.INTENT, resultCode: "" });
    expect(intent?.principal?.tokenId).not.toBe("");
    expect(intent?.requestDigest).toHaveLength(32);
    expect(outcome).toMatchObject({ ...same, phase: AuditEntry_Phase.OUTCOME, resultCode: "OK" });
    expect(outcome?.intentEntryId).toBe(intent?.entryId);
    expect(outcome?.duration).toBeDefined();
    expect(server.executed).toEqual(["pause"]);
    expect(server.calls[0]?.audited).toBe(true);
  });

  it("a read has one entry, a stream one more when it ends, and each answer the call's id", async () => {
    server = await startServer();
    let id: string | null = null;
    await client(protocol).listWorkflows(
      {},
      { ...(await server.as("viewer")), onHeader: (h) => (id = h.get("x-request-id")) },
    );
    expect(id).toBe(server.calls[0]?.id);
    expect(await drain(client(protocol).watchWorkflows({}, await server.as("viewer")))).toBe(1);
    const entries = await server.entries();
    expect(entries.map(told)).toEqual(["READ runtime.list", "READ runtime.watch", "OUTCOME runtime.watch OK"]);
    expect(entries[2]?.intentEntryId).toBe(entries[1]?.entryId);
  });

  it("unary and streaming calls without a token are refused, recorded once, and run nothing", async () => {
    server = await startServer();
    const errors = [
      await failure(client(protocol).pauseWorkflow(pause, { headers: { "x-request-id": "call-2" } })),
      await failure(drain(client(protocol).watchWorkflows({}))),
    ];
    for (const error of errors) expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_MISSING" });
    expect(errors[0]?.metadata.get("x-request-id")).toBe("call-2");
    const entries = await server.entries();
    expect(entries.map(told)).toEqual([
      "DENIED runtime.pause UNAUTHENTICATED TOKEN_MISSING",
      "DENIED runtime.watch UNAUTHENTICATED TOKEN_MISSING",
    ]);
    expect(entries[0]).toMatchObject({
      target: "",
      reason: "",
      principal: { subject: "", sourceAddress: "127.0.0.1" },
    });
    expect(server.executed).toEqual([]);
  });

  it("a reflection stream is governed like any other", async () => {
    server = await startServer();
    const reflection = createClient(ServerReflection, server.transport("grpc"));
    const requests = async function* () {
      yield { messageRequest: { case: "listServices", value: "" } as const };
    };
    expect((await failure(drain(reflection.serverReflectionInfo(requests())))).reason).toBe("TOKEN_MISSING");
    expect(await drain(reflection.serverReflectionInfo(requests(), await server.as("viewer")))).toBe(1);
    expect((await server.entries()).map(told)).toEqual([
      "DENIED runtime.describe UNAUTHENTICATED TOKEN_MISSING",
      "READ runtime.describe",
      "OUTCOME runtime.describe OK",
    ]);
  });
});

describe("a call that a link refuses runs nothing and leaves exactly one entry:", () => {
  it("authenticate: a token that is none, expired, or another's", async () => {
    server = await startServer();
    const send = (authorization: string) => failure(client().pauseWorkflow(pause, { headers: { authorization } }));
    const good = (await server.as("sre")).headers.authorization;
    const expired = (await server.as("sre", { expiresIn: -60 })).headers.authorization;
    expect(await send("Basic YTpi")).toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_MALFORMED" });
    expect(await send("Bearer secret")).toMatchObject({ reason: "TOKEN_MALFORMED" });
    expect(await send(`${good}, ${good}`)).toMatchObject({ reason: "TOKEN_MALFORMED" });
    expect(await send(expired)).toMatchObject({ reason: "TOKEN_EXPIRED" });
    expect(await send(`${good.slice(0, -8)}AAAAAAAA`)).toMatchObject({ reason: "TOKEN_INVALID" });
    expect((await server.entries()).map(({ errorReason, phase }) => [phase, errorReason])).toEqual(
      ["TOKEN_MALFORMED", "TOKEN_MALFORMED", "TOKEN_MALFORMED", "TOKEN_EXPIRED", "TOKEN_INVALID"].map((reason) => [
        AuditEntry_Phase.DENIED,
        reason,
      ]),
    );
    expect(server.executed).toEqual([]);
  });

  it("authorize: a role that may not, and the ledger names what it was about", async () => {
    server = await startServer();
    const error = await failure(client().pauseWorkflow(pause, await server.as("viewer")));
    expect(error).toMatchObject({ code: Code.PermissionDenied, reason: "ROLE_DENIED" });
    expect(error.message).toContain("needs the permission workflows.pause");
    expect(error.message).toContain("ask for the role sre or sre_admin");
    const audit = createClient(AuditLog, server.transport());
    expect((await failure(audit.listAuditEntries({}, await server.as("sre")))).reason).toBe("ROLE_DENIED");
    expect((await failure(drain(client().watchWorkflows({}, await server.as("stranger"))))).reason).toBe("ROLE_DENIED");
    const entries = await server.entries();
    expect(entries.map(told)).toEqual([
      "DENIED runtime.pause PERMISSION_DENIED ROLE_DENIED",
      "DENIED audit.list PERMISSION_DENIED ROLE_DENIED",
      "DENIED runtime.watch PERMISSION_DENIED ROLE_DENIED",
    ]);
    expect(entries[0]).toMatchObject({ target: "inv_1", reason: "it pays twice", principal: { subject: "alice" } });
    expect(server.executed).toEqual([]);
  });

  it("validate: a request that is wrong, after authorize, so that a stranger learns nothing of what is right", async () => {
    server = await startServer();
    const wrong = { workflowId: "", reason: " " };
    expect((await failure(client().pauseWorkflow(wrong, await server.as("viewer")))).reason).toBe("ROLE_DENIED");
    expect((await failure(client().pauseWorkflow(wrong, await server.as("sre")))).reason).toBe("INVALID_ARGUMENT");
    const watch = client().watchWorkflows({ status: [99] as never }, await server.as("viewer"));
    expect((await failure(drain(watch))).reason).toBe("INVALID_ARGUMENT");
    expect((await server.entries()).map(told)).toEqual([
      "DENIED runtime.pause PERMISSION_DENIED ROLE_DENIED",
      "DENIED runtime.pause INVALID_ARGUMENT INVALID_ARGUMENT",
      "DENIED runtime.watch INVALID_ARGUMENT INVALID_ARGUMENT",
    ]);
    expect(server.executed).toEqual([]);
  });

  it("target: a workflow that no engine knows", async () => {
    server = await startServer();
    const error = await failure(client().getWorkflow({ workflowId: "restate:inv_9" }, await server.as("viewer")));
    expect(error).toMatchObject({ code: Code.NotFound, reason: "WORKFLOW_NOT_FOUND" });
    const [entry, ...rest] = await server.entries();
    expect(rest).toEqual([]);
    expect(entry).toMatchObject({ phase: AuditEntry_Phase.DENIED, target: "restate:inv_9" });
    expect(server.executed).toEqual([]);
  });

  it("policy: what a policy forbids, with the policy's message and name", async () => {
    const reserved = create(WorkflowSchema, { ...workflow, labels: { resume: "sre_admin" } });
    server = await startServer({ deps: { resolveTarget: async () => reserved } });
    const error = await failure(client().resumeWorkflow(pause, await server.as("sre")));
    expect(error).toMatchObject({ code: Code.PermissionDenied, reason: "POLICY_DENIED" });
    expect(error.rawMessage).toBe("this workflow is labelled resume=sre_admin: ask an sre_admin to resume it");
    const [entry, ...rest] = await server.entries();
    expect(rest).toEqual([]);
    expect(entry).toMatchObject({
      phase: AuditEntry_Phase.DENIED,
      target: "restate:inv_1",
      errorReason: "POLICY_DENIED",
      decision: { allowed: false, policyIds: ["resume-reserved-for-admins"] },
    });
    expect(entry?.decision?.policySetHash).toMatch(/^[0-9a-f]{64}$/);
    expect(server.executed).toEqual([]);
  });

  it("policy: a forbid that errors, though Cedar by itself would allow", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mc-policies-"));
    await cp(join(import.meta.dirname, "../../policies"), dir, { recursive: true });
    await writeFile(
      join(dir, "mine.cedar"),
      '@id("overflows") forbid (principal, action, resource) when { context.now * 9223372036854775807 > 0 };',
    );
    for (const file of await readdir(dir)) if (file.endsWith(".test.yaml")) await rm(join(dir, file));
    server = await startServer({ deps: { policy: await openPolicy({ dir }, pino({ level: "silent" })) } });
    await rm(dir, { recursive: true });
    const error = await failure(client().pauseWorkflow(pause, await server.as("sre_admin")));
    expect(error).toMatchObject({ code: Code.PermissionDenied, reason: "POLICY_ERROR" });
    expect((await server.entries()).map(told)).toEqual(["DENIED runtime.pause PERMISSION_DENIED POLICY_ERROR"]);
    expect((await server.entries())[0]?.decision).toMatchObject({ allowed: false, policyIds: ["overflows"] });
    expect(server.executed).toEqual([]);
  });

  it("policy: anything but a clean yes is a no", async () => {
    const answers: unknown[] = [
      { allowed: false, failed: true, message: "x", policyIds: ["f"], policySetHash: "", bypassed: [], points: [] },
      { allowed: "true", failed: false, message: "", policyIds: [], policySetHash: "" },
      { allowed: 1, failed: false, message: "", policyIds: [], policySetHash: "" },
      { allowed: true, failed: true, message: "", policyIds: [], policySetHash: "" },
      {},
    ];
    const left = [...answers];
    server = await startServer({
      deps: { policy: { check: async () => left.shift() as never, checkAll: async () => [] } },
    });
    for (const _ of answers) {
      expect((await failure(client().pauseWorkflow(pause, await server.as("sre")))).code).not.toBe(0);
    }
    const entries = await server.entries();
    expect(entries).toHaveLength(answers.length);
    expect(entries.every(({ phase }) => phase === AuditEntry_Phase.DENIED)).toBe(true);
    expect(entries[0]?.errorReason).toBe("POLICY_ERROR");
    expect(server.executed).toEqual([]);
  });
});

describe("while the ledger cannot be written", () => {
  it("nothing runs, reads neither, and every answer says so", async () => {
    server = await startServer();
    const other = new DatabaseSync(server.databasePath);
    other.exec("BEGIN IMMEDIATE");
    const sre = await server.as("sre");
    const errors = await Promise.all([
      failure(client().pauseWorkflow(pause, sre)),
      failure(client().listWorkflows({}, sre)),
      failure(drain(client().watchWorkflows({}, sre))),
      failure(client().listWorkflows({})),
    ]);
    for (const error of errors) expect(error).toMatchObject({ code: Code.Unavailable, reason: "LEDGER_UNAVAILABLE" });
    expect(server.ledger.fault).toBeDefined();
    expect(server.executed).toEqual([]);
    other.exec("ROLLBACK");
    other.close();
    await client().pauseWorkflow(pause, sre);
    expect(server.executed).toEqual(["pause"]);
    expect(server.ledger.fault).toBeUndefined();
  });
});

it("no token reaches an entry or a line of the log, and each call has one line", async () => {
  server = await startServer();
  const { headers } = await server.as("sre");
  const secret = headers.authorization.slice("Bearer ".length);
  await client().pauseWorkflow(pause, { headers });
  await failure(client().listWorkflows({}, { headers: { authorization: `${headers.authorization}x` } }));
  await failure(client().pauseWorkflow({ workflowId: "", reason: "" }, { headers }));
  const kept = JSON.stringify([server.lines, await server.entries()], (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  for (const part of secret.split(".")) expect(kept).not.toContain(part);
  expect(kept.toLowerCase()).not.toContain("bearer ey");
  const lines = server.lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "call");
  expect(lines.map(({ code, reason }) => [code, reason])).toEqual([
    ["OK", undefined],
    ["UNAUTHENTICATED", "TOKEN_MALFORMED"],
    ["INVALID_ARGUMENT", "INVALID_ARGUMENT"],
  ]);
  expect(lines[0]).toMatchObject({ subject: "alice", target: "restate:inv_1", callId: server.calls[0]?.id });
});
