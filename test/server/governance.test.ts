import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescMethod, getOption, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { Access } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes, SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { Governance_Audit as Audit, governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import { WatchWorkflowsResponse_Kind as Kind, MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../gen/missioncontrol/v1/revocations_pb.ts";
import type { Engine } from "../../src/engines/engine.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { call, type Door, doorOf, doorsOf, readToEnd } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { entriesOf, told, toldOf } from "./ledger.ts";

/** Gates attach with tokens and a stream of their own: test/gate has these. */
const services = [MissionControl, Brakes, AuditLog, Revocations, GateTokens, Access];
const methods = services.flatMap((service): DescMethod[] => [...service.methods]);

/** Who may what: the design's table of roles. */
const rolesWith: Record<string, readonly string[]> = {
  "workflows.read": ["viewer", "sre", "sre_admin", "auditor"],
  "workflows.pause": ["sre", "sre_admin"],
  "workflows.resume": ["sre", "sre_admin"],
  "brakes.read": ["viewer", "sre", "sre_admin", "auditor"],
  "brakes.engage": ["sre", "sre_admin"],
  "brakes.approve": ["sre_admin"],
  "brakes.release": ["sre", "sre_admin"],
  "gates.manage": ["sre_admin"],
  "health.read": ["viewer", "sre", "sre_admin", "auditor"],
  "audit.read": ["sre_admin", "auditor"],
  "audit.rotate_key": ["sre_admin"],
  "audit.erase": ["sre_admin"],
  "tokens.revoke": ["sre_admin"],
  "access.read": ["viewer", "sre", "sre_admin", "auditor"],
  "policy.explain": ["sre_admin", "auditor"],
};
const roles = ["viewer", "sre", "sre_admin", "auditor", "sre_admin_of_another_system"];

let engine: TestEngine;
let server: TestServer;
let workflowId: string;
let entryId: string;
/** A brake of sam's, and one of alice's; from `engaging` on, for while one is engaged the engine is asked all the time. */
let brakeId = "br_none";
let ownBrakeId = "br_none";
/** How often anything was asked of the engine. */
let asked = 0;
/** Authorization headers, by what is wrong with them. */
const bad: Record<string, string | undefined> = {};

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket, { through: counting, blastRadius: { sre: 0, sre_admin: 100 } });
  const id = await engine.start("SuspendedAwaiter/run");
  await engine.untilStatus(id, "suspended");
  workflowId = `restate:${id}`;
  const { entries } = await server.audit.listAuditEntries({ pageSize: 1 });
  entryId = entries[0]?.entryId ?? "";
  Object.assign(bad, await badCredentials());
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

async function engaging(): Promise<void> {
  if (brakeId !== "br_none") return;
  brakeId = await askForBrake("sam", "NoSuchType");
  ownBrakeId = await askForBrake("alice", "NoSuchType");
}

/** A brake on a type; on one that runs, sre has to ask for it: nobody may alone. */
async function askForBrake(subject: string, type: string): Promise<string> {
  const client = await server.brakesAs(subject, "sre");
  const { brake } = await client.engageBrake({ selector: { types: [type] }, reason: "governance" });
  return brake?.brakeId ?? "";
}

async function makeGateToken(): Promise<string> {
  const { createGateToken } = GateTokens.method;
  const sent = { token: await server.token() };
  const { messages } = await call(
    doorOf(createGateToken, "grpc"),
    server.url,
    requestOf(createGateToken) as never,
    sent,
  );
  return messages[0]?.gateToken?.gateTokenId ?? "";
}

function counting(real: Engine): Engine {
  return new Proxy(real, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (name !== "isId") asked++;
        return value.apply(target, args);
      };
    },
  });
}

async function badCredentials(): Promise<typeof bad> {
  const good = await server.token();
  const [header = "", payload = ""] = good.split(".");
  const dir = mkdtempSync(join(tmpdir(), "mc-other-issuer-"));
  const other = await openDevIssuer(dir);
  rmSync(dir, { recursive: true });
  const { privateKey } = await generateKeyPair("ES256");
  const forged = await new SignJWT(decodeJwt(good))
    .setProtectedHeader({ ...decodeProtectedHeader(good), alg: "ES256" })
    .sign(privateKey);
  const unsigned = Buffer.from(JSON.stringify({ ...decodeProtectedHeader(good), alg: "none" })).toString("base64url");
  const alice = { subject: "alice", roles: ["sre_admin"] };
  return {
    "no token": undefined,
    "another scheme": `Basic ${Buffer.from("alice:secret").toString("base64")}`,
    "no JWT": "Bearer letmein",
    "three parts that are no JWT": "Bearer let.me.in",
    "an expired token": `Bearer ${await server.issuer.signDevToken({ ...alice, expiresIn: -60 })}`,
    "another issuer's key": `Bearer ${await other.signDevToken({ ...alice, expiresIn: 60 })}`,
    "another key under our key's id": `Bearer ${forged}`,
    "no signature, alg none": `Bearer ${unsigned}.${payload}.${Buffer.from("x").toString("base64url")}`,
    "a signature that was cut off": `Bearer ${header}.${payload}.`,
  };
}
const reasonOfBad: Record<string, string> = {
  "no token": "TOKEN_MISSING",
  "another scheme": "TOKEN_MALFORMED",
  "no JWT": "TOKEN_MALFORMED",
  "three parts that are no JWT": "TOKEN_MALFORMED",
  "an expired token": "TOKEN_EXPIRED",
  "another issuer's key": "TOKEN_INVALID",
  "another key under our key's id": "TOKEN_INVALID",
  "no signature, alg none": "TOKEN_INVALID",
  "a signature that was cut off": "TOKEN_MALFORMED",
};

/** A request that would be served: every field by its name, so that a new RPC with a new one has to say what it is. */
function requestOf(
  method: DescMethod,
  brake = brakeId,
  gateTokenId = "gt_none",
): MessageInitShape<DescMethod["input"]> {
  const request: Record<string, unknown> = {};
  for (const { name, localName } of method.input.fields) {
    if (name === "workflow_id") request[localName] = workflowId;
    if (name === "brake_id") request[localName] = brake;
    if (name === "entry_id") request[localName] = entryId;
    if (name === "selector") request[localName] = create(SelectorSchema, { types: ["NoSuchType"] });
    if (name === "subject" && method.name === "EraseSubject") request[localName] = "nobody-of-that-name";
    if (name === "gate_token_id") request[localName] = gateTokenId;
    if (method === GateTokens.method.createGateToken && name === "name") request[localName] = `gate-${randomUUID()}`;
    if (method === GateTokens.method.createGateToken && name === "engine") request[localName] = "restate";
    if (name === "reason") request[localName] = "governance";
    if (name === "issuer") request[localName] = "mission-control-dev";
    if (method === Access.method.explainPolicy && name === "action") request[localName] = "runtime.pause";
    if (name === "token_id") request[localName] = "of-nobody";
  }
  return create(method.input, request as never);
}

/** RPCs that this server has to refuse to everybody, and why: it has no canary. */
const refusedAll: Record<string, string> = { DrillBrake: "NO_CANARY" };

/** Streams that come to an end by themselves. */
const finite = new Set(["ExportAuditEntries"]);

/** What HTTP says: gRPC and streams answer 200 and tell the failure in the body. */
function httpStatus(door: Door, method: DescMethod, status: number): number | undefined {
  if (door.protocol === "grpc") return undefined;
  if (door.protocol === "grpc-web") return 200;
  return door.protocol === "connect" && method.methodKind !== "unary" ? 200 : status;
}

test("these are all services on the port, beside those that describe it", async () => {
  const token = await server.token();
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: server.url }));
  async function* ask() {
    yield { host: "", messageRequest: { case: "listServices", value: "" } } as const;
  }
  const names: string[] = [];
  for await (const { messageResponse } of client.serverReflectionInfo(ask(), {
    headers: { authorization: `Bearer ${token}` },
  })) {
    if (messageResponse.case === "listServicesResponse")
      names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  const describing = [
    "missioncontrol.gate.v1.Gate",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
  ];
  expect(names.sort()).toEqual([...describing, ...services.map((service) => service.typeName)].sort());
});

const doors = methods.flatMap((method) => doorsOf(method).map((door) => ({ method, door })));

describe.concurrent.each(doors)("$method.name by $door.name", ({ method, door }) => {
  const { permission, action } = getOption(method, governance);

  test.each(Object.keys(reasonOfBad))("%s: UNAUTHENTICATED, recorded once, nothing executed", async (what) => {
    const before = asked;
    const callId = randomUUID();
    const authorization = bad[what];
    const sent = authorization === undefined ? { callId } : { callId, authorization };
    const answer = await call(door, server.url, requestOf(method), sent);
    expect(answer).toMatchObject({
      code: "UNAUTHENTICATED",
      domain: "missioncontrol",
      reason: reasonOfBad[what],
      httpStatus: httpStatus(door, method, 401),
      messages: [],
      callId,
    });
    expect(answer.message).not.toBe("");
    const entries = await entriesOf(server, callId);
    expect(entries.map(told)).toEqual([`DENIED ${reasonOfBad[what]}`]);
    expect(entries[0]).toMatchObject({
      protocol: door.protocol,
      resultCode: "UNAUTHENTICATED",
      principal: { subject: "", roles: [], sourceAddress: "127.0.0.1" },
      target: "",
      reason: "",
    });
    expect(asked).toBe(before);
  });

  test("a role without the permission: PERMISSION_DENIED, recorded once, nothing executed", async () => {
    const before = asked;
    const callId = randomUUID();
    const role = roles.find((one) => !rolesWith[permission]?.includes(one)) ?? "";
    const token = await server.token([role], "mallory");
    const answer = await call(door, server.url, requestOf(method), { callId, token });
    expect(answer).toMatchObject({
      code: "PERMISSION_DENIED",
      domain: "missioncontrol",
      reason: "ROLE_DENIED",
      metadata: { permission },
      httpStatus: httpStatus(door, method, 403),
      messages: [],
      callId,
    });
    const entries = await entriesOf(server, callId);
    expect(entries.map(told)).toEqual(["DENIED ROLE_DENIED"]);
    expect(entries[0]).toMatchObject({
      protocol: door.protocol,
      method: `${method.parent.typeName}/${method.name}`,
      action,
      resultCode: "PERMISSION_DENIED",
      principal: { subject: "mallory", sourceAddress: "127.0.0.1" },
    });
    expect(asked).toBe(before);
  });
});

// Behind all refusals: from here on the engine is at work, and what it is asked cannot be counted any more.
describe.each(doors)("$method.name by $door.name", ({ method, door }) => {
  const { action, audit } = getOption(method, governance);

  test("a good token: served, with the entries that its class demands", async () => {
    const callId = randomUUID();
    const token = await server.token(["sre_admin"], "alice");
    if (method.name === "ResumeWorkflow") {
      await server.control.pauseWorkflow({ workflowId, reason: "to be resumed" });
    }
    await engaging();
    // What is to be approved or released has to be there, each time anew.
    let brake = brakeId;
    if (method.name === "ApproveBrake") brake = await askForBrake("sam", "SuspendedAwaiter");
    if (method.name === "ReleaseBrake") brake = await askForBrake("alice", "NoSuchType");
    const gateToken = method.name === "RevokeGateToken" ? await makeGateToken() : undefined;
    const stop = new AbortController();
    const conversation = door.open(server.url, requestOf(method, brake, gateToken), {
      callId,
      token,
      signal: stop.signal,
    });
    if (method.methodKind === "unary") {
      const answer = await readToEnd(conversation);
      const refused = refusedAll[method.name];
      expect(answer).toMatchObject({ code: refused ? "FAILED_PRECONDITION" : "OK", callId });
      expect(answer.messages).toHaveLength(refused ? 0 : 1);
      const outcome = `OUTCOME ${refused ?? "OK"}`;
      expect(await toldOf(server, callId)).toEqual(audit === Audit.READ ? ["READ"] : ["INTENT", outcome]);
      if (method.name === "ApproveBrake") await server.brakes.releaseBrake({ brakeId: brake, reason: "approved" });
    } else if (finite.has(method.name)) {
      expect(await readToEnd(conversation)).toMatchObject({ code: "OK", callId });
      expect(await toldOf(server, callId)).toEqual(["READ", "OUTCOME OK"]);
    } else {
      expect((await conversation.next()).done).toBe(false);
      expect(await toldOf(server, callId)).toEqual(["READ"]);
      stop.abort();
      await conversation.next().catch(() => undefined);
      await expect.poll(() => toldOf(server, callId)).toEqual(["READ", "OUTCOME CANCELLED"]);
    }
    const [first, last] = await entriesOf(server, callId);
    expect(first).toMatchObject({
      method: `${method.parent.typeName}/${method.name}`,
      protocol: door.protocol,
      action,
      principal: { subject: "alice", roles: ["sre_admin"], authenticationMethod: "jwt", sourceAddress: "127.0.0.1" },
      decision: { allowed: true },
    });
    expect(first?.principal?.tokenId).not.toBe("");
    if (last !== undefined && last !== first) expect(last.intentEntryId).toBe(first?.entryId);
  });
});

test.each(methods)("$name is for the roles that have its permission, and for no other", async (method) => {
  await engaging();
  const { permission } = getOption(method, governance);
  const allowed: string[] = [];
  for (const role of roles) {
    const callId = randomUUID();
    const conversation = doorOf(method, "grpc").open(server.url, requestOf(method, ownBrakeId), {
      callId,
      token: await server.token([role]),
    });
    const step = await conversation.next();
    // A resume of what nobody holds is refused for that: it was allowed.
    if (!step.done || step.value.code !== "PERMISSION_DENIED") allowed.push(role);
    await conversation.return(step.value as never);
  }
  expect(allowed).toEqual(rolesWith[permission]);
});

test("an effect comes after its intent and before its outcome", async () => {
  const callId = randomUUID();
  const id = await engine.start("Sleeper/run", { ms: 60_000 });
  const answer = await call(
    doorOf(MissionControl.method.pauseWorkflow, "grpc"),
    server.url,
    { workflowId: `restate:${id}`, reason: "order" },
    { callId, token: await server.token() },
  );
  const [intent, outcome] = await entriesOf(server, callId);
  const { entries } = await server.audit.listAuditEntries({ target: `restate:${id}`, phase: [Phase.SYSTEM] });
  const engaged = entries.find((entry) => entry.action === "brake.engaged");
  expect(engaged).toMatchObject({ brakeId: answer.messages[0]?.brakeId, intentEntryId: intent?.entryId });
  expect(intent?.entryId).toBe(answer.messages[0]?.auditEntryId);
  expect(Number(engaged?.sequence)).toBeGreaterThan(Number(intent?.sequence));
  expect(Number(engaged?.sequence)).toBeLessThan(Number(outcome?.sequence));
});

test("a stream that fails before its first message has READ and OUTCOME as well", async () => {
  const callId = randomUUID();
  const answer = await call(
    doorOf(MissionControl.method.watchWorkflows, "connect"),
    server.url,
    { engine: ["nowhere"] },
    { callId, token: await server.token() },
  );
  expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason: "UNKNOWN_ENGINE" });
  expect(answer.messages.map(({ kind }) => kind)).not.toContain(Kind.SNAPSHOT);
  await expect.poll(() => toldOf(server, callId)).toEqual(["READ", "OUTCOME UNKNOWN_ENGINE"]);
});
