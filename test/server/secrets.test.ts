import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { toJsonString } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  AuditEntrySchema,
  FollowAuditEntriesResponseSchema,
  ListAuditEntriesResponseSchema,
  AuditEntry_Phase as Phase,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { WatchWorkflowsResponse_Kind as Kind, MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { TraceEntry_Kind as Entry, Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { gateDefaults } from "../../src/engines/gate/config.ts";
import { createGate } from "../../src/gate/index.ts";
import { openPublishers } from "../../src/ledger/publishers.ts";
import { onTerminal } from "../cli/console.ts";
import { call, type Door, doorOf, doorsOf, readUntil } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { toldOf } from "./ledger.ts";

const { listWorkflows, getWorkflow, getWorkflowTrace, watchWorkflows, pauseWorkflow, resumeWorkflow } =
  MissionControl.method;
const wait = durationFromMs(15_000);

const streamed = join(mkdtempSync(join(tmpdir(), "mc-secrets-")), "siem.jsonl");
/** A collector and a witness: all that they are sent. */
let sent = "";
const receiver = createServer(async (req, res) => {
  sent += `${req.url} ${await text(req)}\n`;
  res.end(req.url === "/v1/logs" ? "{}" : "");
});
let engine: TestEngine;
let server: TestServer;
/** All that the server logged, at the lowest level, with nothing redacted. */
let logged = "";
beforeAll(async () => {
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const receiverUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  engine = await startTestEngine();
  const write = (line: string) => {
    logged += line;
  };
  const log = pino({ level: "trace" }, { write });
  const inputs = { redact: ["iban"], maxBytes: 4096 };
  server = await startTestServer(engine.adminSocket, {
    log,
    ledgerStreams: [
      { name: "siem", file: streamed },
      { name: "otel", url: new URL(`${receiverUrl}/v1/logs`) },
    ],
    checkpointPublishers: openPublishers({ witnesses: [receiverUrl] }, process.stdout),
    gateEngines: [
      { name: "ai-first", kind: "ai-first", ...gateDefaults },
      { name: "ai-first-kept", kind: "ai-first", ...gateDefaults, inputs },
      { name: "agents", kind: "gate", ...gateDefaults },
      { name: "agents-kept", kind: "gate", ...gateDefaults, inputs },
    ],
  });
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
  receiver.close();
  rmSync(dirname(streamed), { recursive: true });
});

/** An export with its bytes as they are, and the receipts of what was asked of workflows. */
async function proofs(): Promise<{ exported: Buffer; receipts: Buffer }> {
  const exported: Uint8Array[] = [];
  const receipts: Uint8Array[] = [];
  for await (const { line } of server.audit.exportAuditEntries({})) {
    if (line.case !== "entry" || line.value.entry === undefined) continue;
    const { bytes, disclosures, entry } = line.value;
    exported.push(bytes, Buffer.from(toJsonString(AuditEntrySchema, entry)), ...disclosures.map(({ value }) => value));
    if (entry.phase !== Phase.INTENT) continue;
    const { receipt } = await server.audit.getAuditReceipt({ entryId: entry.entryId });
    if (receipt) receipts.push(receipt.entry, ...receipt.disclosures.map(({ value }) => value));
  }
  return { exported: Buffer.concat(exported), receipts: Buffer.concat(receipts) };
}

/** The first entries of all that there are, as they are followed. */
async function followed(): Promise<string> {
  let said = "";
  for await (const message of server.audit.followAuditEntries({ after: 0n })) {
    if (message.entry === undefined) break;
    said += toJsonString(FollowAuditEntriesResponseSchema, message);
  }
  return said;
}

/**
 * All that can be seen: the log, the metrics, the ledger as an auditor reads, follows, exports and proves it, what a collector and a
 * witness got, the files (checkpoints, streams).
 */
async function look(): Promise<Map<string, Buffer>> {
  const authorization = `Bearer ${await server.token()}`;
  const metrics = await fetch(`${server.url}/metrics`, { headers: { authorization } });
  expect(metrics.status).toBe(200);
  const { exported, receipts } = await proofs();
  const seen = new Map([
    ["log", Buffer.from(logged)],
    ["metrics", Buffer.from(await metrics.arrayBuffer())],
    ["export", exported],
    ["receipts", receipts],
    ["follow", Buffer.from(await followed())],
    ["receiver", Buffer.from(sent)],
  ]);
  const add = (place: string, bytes: Buffer) => seen.set(place, Buffer.concat([seen.get(place) ?? Buffer.of(), bytes]));
  let pageToken = "";
  do {
    const page = await server.audit.listAuditEntries({ pageSize: 1000, pageToken });
    add("ledger", Buffer.from(toJsonString(ListAuditEntriesResponseSchema, page)));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  for (const dir of [server.dataDir, dirname(streamed)]) {
    for (const name of readdirSync(dir, { recursive: true, withFileTypes: true })) {
      if (name.isFile()) add(name.name, readFileSync(join(name.parentPath, name.name)));
    }
  }
  return seen;
}

function placesOf(text: string, seen: ReadonlyMap<string, Buffer>): string[] {
  return [...seen].filter(([, bytes]) => bytes.includes(text)).map(([place]) => place);
}

async function whereIs(text: string): Promise<string[]> {
  return placesOf(text, await look());
}

/** Starts an invocation whose request to the engine carries headers of its own. */
async function startWithHeaders(target: string, input: unknown, headers: Record<string, string>): Promise<string> {
  const req = request({
    socketPath: engine.ingressSocket,
    method: "POST",
    path: `/${target}/send`,
    headers: { "content-type": "application/json", ...headers },
  });
  req.end(JSON.stringify(input));
  const [response] = await once(req, "response");
  const chunks: Buffer[] = await response.toArray();
  return (JSON.parse(Buffer.concat(chunks).toString()) as { invocationId: string }).invocationId;
}

test("no token, no header, nothing of what agents get or give is in the log, in the ledger or in a file", async () => {
  const secrets: Record<string, string> = {
    input: "canary-input-5f1c",
    ingressHeader: "canary-ingress-5f1c",
    result: "canary-result-5f1c",
    cookie: "canary-cookie-5f1c",
    basic: Buffer.from("alice:canary-password-5f1c").toString("base64"),
    notJwt: "canary-opaque-token-5f1c",
    query: "canary-query-5f1c",
    strangersReason: "canary-stranger-5f1c",
    unpermittedReason: "canary-unknown-field-5f1c",
  };
  const tokens = {
    good: await server.token(["sre_admin"], "alice"),
    powerless: await server.token([], "mallory"),
    expired: await server.issuer.signDevToken({ subject: "alice", roles: ["sre"], expiresIn: -60 }),
  };
  const [header, , signature] = tokens.good.split(".");
  const forged = `${header}.${Buffer.from('{"iss":"mission-control-dev","sub":"canary-subject"}').toString("base64url")}.${signature}`;
  for (const [name, token] of Object.entries({ ...tokens, forged })) {
    const [, payload, sign] = token.split(".");
    Object.assign(secrets, { [`${name} token's claims`]: payload, [`${name} token's signature`]: sign });
  }

  const invocation = await startWithHeaders(
    "Awaiter/run",
    { note: secrets.input },
    { authorization: `Bearer ${secrets.ingressHeader}` },
  );
  await engine.steps.untilAwakeable(invocation);
  const workflowId = `restate:${invocation}`;

  for (const protocol of ["grpc", "grpc-web", "connect", "rest"] as const) {
    const reason = "canary-of-the-search";
    const open = (method: unknown, more: object, sent: object) =>
      call(doorOf(method as typeof getWorkflow, protocol) as Door, server.url, more as never, sent);
    const good = { token: tokens.good };
    for (const method of [getWorkflow, getWorkflowTrace]) {
      expect(await open(method, { workflowId }, good)).toMatchObject({ code: "OK" });
    }
    expect(await open(listWorkflows, {}, good)).toMatchObject({ code: "OK" });
    expect(await open(pauseWorkflow, { workflowId, reason, wait }, good)).toMatchObject({ code: "OK" });
    expect(await open(resumeWorkflow, { workflowId, reason, wait }, good)).toMatchObject({ code: "OK" });
    for (const sent of [
      { token: tokens.expired },
      { token: forged },
      { authorization: `Basic ${secrets.basic}` },
      { authorization: `Bearer ${secrets.notJwt}` },
      {},
    ]) {
      const answer = await open(pauseWorkflow, { workflowId, reason: secrets.strangersReason }, sent);
      expect(answer.code).toBe("UNAUTHENTICATED");
      for (const text of Object.values(secrets)) expect(answer.message).not.toContain(text);
    }
    expect(await open(pauseWorkflow, { workflowId, reason }, { token: tokens.powerless })).toMatchObject({
      code: "PERMISSION_DENIED",
    });
  }
  for (const door of doorsOf(watchWorkflows)) {
    const events = door.open(server.url, {}, { token: tokens.good });
    await readUntil(events, ({ kind }) => kind === Kind.SNAPSHOT_END);
    await events.return(undefined as never);
  }
  // What strangers and careless clients put where it does not belong.
  const authorization = `Bearer ${tokens.good}`;
  const headers = { authorization, cookie: `session=${secrets.cookie}`, "x-api-key": secrets.cookie ?? "" };
  await fetch(`${server.url}/v1/workflows?access_token=${secrets.query}`, { headers });
  await fetch(`${server.url}/v1/nothing?access_token=${secrets.query}`, { headers });
  await fetch(`${server.url}/v1/workflows/${workflowId}/pause`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ reason: "x", password: secrets.unpermittedReason }),
  });

  // Tokens that somebody pasted where an id, a reason or a label belongs, and that an error quotes.
  const pasted = tokens.good;
  secrets.pastedId = pasted.slice(0, 120);
  const json = { authorization, "content-type": "application/json", "x-request-id": secrets.pastedId };
  const post = (path: string, body: object) =>
    fetch(`${server.url}${path}`, { method: "POST", headers: json, body: JSON.stringify(body) });
  for (const id of [pasted, `restate:${pasted}`]) {
    await post(`/v1/workflows/${id}/pause`, { reason: `with Bearer ${pasted}` });
    await fetch(`${server.url}/v1/workflows/${id}`, { headers: json });
  }
  await fetch(`${server.url}/v1/nothing/${pasted}`, { headers: json });
  await post("/v1/brakes:preview", { selector: { labels: [`token=${pasted}`] } });
  await post("/v1/brakes", { selector: { labels: [`token=${pasted}`] }, reason: pasted, validateOnly: true });
  await post("/v1/brakes/br_none/release", { reason: pasted });
  // And where it is kept: with the brake, and with what is revoked.
  const selector = { types: ["NoSuchType"] };
  const ticket = pasted.slice(0, 120);
  const { brake } = await server.brakes.engageBrake({ selector, reason: `as ${pasted}`, ticket });
  expect(brake).toMatchObject({ reason: "as (token)", ticket: "(token)" });
  const released = await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: `not ${pasted}` });
  expect(released.brake?.release?.reason).toBe("not (token)");
  for (const control of ["pause", "resume"]) {
    const answer = await post(`/v1/workflows/${workflowId}/${control}`, { reason: pasted, request_id: randomUUID() });
    expect(answer.status).toBe(200);
  }
  const revoked = await post("/v1/revocations", {
    issuer: server.issuer.config.issuer,
    token_id: "x",
    reason: pasted,
  });
  expect(revoked.status).toBe(200);

  await engine.resolveAwakeable(invocation, secrets.result);
  await engine.untilStatus(invocation, "completed");
  await server.control.getWorkflowTrace({ workflowId });
  await server.restart();

  // The search can find: what belongs there is there.
  await expect.poll(() => sent, { timeout: 10_000 }).toContain("canary-of-the-search");
  expect(sent).toContain("/add-checkpoint old ");
  const everywhere = ["ledger", "export", "receipts", "follow", "receiver", "siem.jsonl"];
  expect(await whereIs("canary-of-the-search")).toEqual(
    expect.arrayContaining([...everywhere, expect.stringContaining("mission-control.db")]),
  );
  expect(logged).toContain(workflowId);
  // The canaries were planted: the engine has them.
  const [row] = await engine.query(`SELECT entry_json FROM sys_journal WHERE id = '${invocation}' AND "index" = 0`);
  expect(JSON.stringify(row)).toContain(secrets.ingressHeader);

  expect(await whereIs("(token)")).toEqual(expect.arrayContaining(["ledger", "siem.jsonl"]));
  expect(readdirSync(join(server.dataDir, "checkpoints"))).toContain("checkpoint");
  const seen = await look();
  for (const [what, text] of Object.entries(secrets)) expect(placesOf(text, seen), what).toEqual([]);
});

test("no token of a gate, made or used, is anywhere but in the answer to who made it", async () => {
  const token = { name: "canary-gate", engine: "restate", reason: "test" };
  const { secret, gateToken } = await server.gateTokens.createGateToken(token);
  await server.brakes.engageBrake({ selector: { types: ["NoSuchType"] }, reason: `with ${secret}` });
  for (const path of [`/v1/gates/ai-first/${secret}`, `/v1/workflows/${secret}`, `/v1/nothing?token=${secret}`]) {
    await fetch(`${server.url}${path}`, { method: "POST", headers: { authorization: `Bearer ${secret}` }, body: "{}" });
  }
  await server.gateTokens.revokeGateToken({ gateTokenId: gateToken?.gateTokenId ?? "", reason: secret });
  expect(await whereIs("canary-gate")).toContain("ledger");
  expect(await whereIs(secret.slice("mcgt_".length))).toEqual([]);
});

test("mctl tells nothing of the token that it calls with, however it fails", async () => {
  const good = await server.token(["viewer"], "alice");
  const [header, payload = "", signature = ""] = good.split(".");
  const expired = await server.issuer.signDevToken({ subject: "alice", roles: ["sre"], expiresIn: -60 });
  const file = join(server.dataDir, "token");
  const commands = [
    ["list"],
    ["get", "restate:inv_none"],
    ["pause", "restate:inv_none", "--reason", "x"],
    ["audit", "list"],
    ["list", "--server", "http://127.0.0.1:1"],
    ["list", "-o", "yaml"],
  ];
  for (const token of [good, expired, `${header}.${payload}.AAAA`, "canary of a token, which is none"]) {
    writeFileSync(file, token, { mode: 0o600 });
    const runs = commands.map((args) => onTerminal(["--server", server.url, ...args, "--token-file", file]));
    const [first] = await Promise.all(runs);
    expect(first?.code === 0).toBe(token === good);
    for (const { stdout, stderr } of await Promise.all(runs)) {
      const said = stdout + stderr;
      for (const secret of [payload, signature, ...expired.split(".").slice(1), "canary of a token"]) {
        expect(said).not.toContain(secret);
      }
    }
  }
  rmSync(file);
});

test("a stranger's body is not even looked at; of a caller's that cannot be read nothing is recorded, though they are told", async () => {
  const good = await server.token();
  const forged = `${good.split(".").slice(0, 2).join(".")}.${Buffer.from("nobody").toString("base64url")}`;
  // Short, so that an error that quotes a part of the body quotes all of it.
  const secret = "canary7";
  for (const door of doorsOf(pauseWorkflow).filter(({ protocol }) => !protocol.startsWith("grpc"))) {
    for (const body of [`${secret}`, `{"reason": ${secret}}`, `{"${secret}": 1}`]) {
      for (const [token, code, reason, message] of [
        [forged, "UNAUTHENTICATED", "TOKEN_INVALID", expect.not.stringContaining(secret)],
        [good, "INVALID_ARGUMENT", "INVALID_ARGUMENT", expect.stringContaining(secret)],
      ] as const) {
        const callId = randomUUID();
        const answer = await call(door, server.url, { workflowId: "restate:inv_1" }, { token, body, callId });
        expect(answer).toMatchObject({ code, message });
        expect(await toldOf(server, callId)).toEqual([`DENIED ${reason}`]);
      }
    }
  }
  expect(await whereIs(secret)).toEqual([]);
});

/** A run of an AI-First Runtime that is held before its step, and let go. */
async function hooked(workflowId: string, engineName: string, inputs: object): Promise<void> {
  const url = `${server.url}/v1/gates/ai-first/${await server.gateToken(`of-${engineName}`, engineName)}`;
  const hook = async (event: string, more: object) => {
    const body = JSON.stringify({ event, traceId: "t", workflowId, inputs, ...more });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    return answer.status;
  };
  const step = { name: "pay", agentName: "support", riskLevel: "HIGH" };
  expect(await hook("pre_execution", {})).toBe(200);
  const id = `${engineName}:${workflowId}`;
  await server.control.pauseWorkflow({ workflowId: id, reason: "test" });
  const held = hook("pre_step", { step });
  await vi.waitFor(async () =>
    expect((await server.control.getWorkflow({ workflowId: id })).workflow?.status).toBe(Status.PAUSED),
  );
  await server.control.resumeWorkflow({ workflowId: id, reason: "test" });
  expect(await held).toBe(200);
  expect(await hook("post_step", { step })).toBe(200);
  // Refused with what it was given in it.
  expect(await hook("post_step", {})).toBe(400);
  expect(await hook("post_execution", { summary: { status: "SUCCESS" } })).toBe(200);
}

/** A run of an agent that attaches. */
async function attached(workflowId: string, engineName: string, inputs: object): Promise<void> {
  const token = await server.gateToken(`of-${engineName}`, engineName);
  const gate = createGate({ url: server.url, token, engine: engineName, name: engineName });
  await gate.ready();
  const pay = gate.wrap(async (_given: object) => {}, { name: "pay", inputs: (given) => given });
  await gate.workflow({ type: "Refund", id: workflowId, inputs }, () => pay(inputs));
  await gate.close();
}

/** What the trace of it tells that it and its step were given. */
async function givenTo(workflowId: string): Promise<string[]> {
  const { entries } = await server.control.getWorkflowTrace({ workflowId });
  return entries.filter(({ kind }) => kind === Entry.STARTED || kind === Entry.STEP).map(({ inputs }) => inputs);
}

test("what runtimes that ask were given is nowhere but where their engine's entry has it kept: there without secrets, in its trace alone", async () => {
  const dropped = { note: "canary-dropped-5f1c" };
  const kept = { note: "canary-kept-5f1c", password: "canary-secret-5f1c", to: { iban: "canary-iban-5f1c" } };
  const shown = '{"note":"canary-kept-5f1c","password":"(redacted)","to":{"iban":"(redacted)"}}';
  const [first, second] = [randomUUID(), randomUUID()];
  await hooked(first, "ai-first", dropped);
  await attached(first, "agents", dropped);
  await hooked(second, "ai-first-kept", kept);
  await attached(second, "agents-kept", kept);
  for (let restarted = 0; restarted < 2; restarted++) {
    expect(await givenTo(`ai-first:${first}`)).toEqual(["", ""]);
    expect(await givenTo(`agents:${first}`)).toEqual(["", ""]);
    expect(await givenTo(`ai-first-kept:${second}`)).toEqual([shown, shown]);
    expect(await givenTo(`agents-kept:${second}`)).toEqual([shown, shown]);
    if (restarted === 0) await server.restart();
  }
  expect(await whereIs(dropped.note)).toEqual([]);
  expect(await whereIs(kept.password)).toEqual([]);
  expect(await whereIs(kept.to.iban)).toEqual([]);
  const places = await whereIs(kept.note);
  expect(places).toContain("mission-control.db");
  expect(places.filter((place) => !place.startsWith("mission-control.db"))).toEqual([]);
});
