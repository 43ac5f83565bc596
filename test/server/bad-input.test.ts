import { randomUUID } from "node:crypto";
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AuditLog, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { call, type Door, doorOf, doorsOf, type Sent } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { entriesOf, told } from "./ledger.ts";

const { listWorkflows, getWorkflow, getWorkflowTrace, watchWorkflows, pauseWorkflow, resumeWorkflow } =
  MissionControl.method;
const { listAuditEntries } = AuditLog.method;
const protocols = ["grpc", "grpc-web", "connect", "rest"] as const;

let engine: TestEngine;
let server: TestServer;
let token: string;
let workflowId: string;
beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket);
  token = await server.token();
  workflowId = `restate:${await engine.start("Sleeper/run", { ms: 120_000 })}`;
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

interface Fault {
  readonly what: string;
  readonly method: DescMethod;
  readonly request: () => unknown;
  /** The field that the answer names. */
  readonly field?: string;
  readonly reason?: string;
}

function fault<M extends DescMethod>(
  method: M,
  what: string,
  request: () => MessageInitShape<M["input"]>,
  field: string,
  reason = "INVALID_ARGUMENT",
): Fault {
  return { what, method, request, field, reason };
}

const pause = (more: object) => () => ({ workflowId, reason: "test", ...more });

/** Requests that every protocol can carry, and that no server should take. */
const faults: Fault[] = [
  fault(listWorkflows, "page_size 501", () => ({ pageSize: 501 }), "page_size"),
  fault(listWorkflows, "page_size -1", () => ({ pageSize: -1 }), "page_size"),
  fault(listWorkflows, "a status that is none", () => ({ status: [99 as never] }), "status[0]"),
  fault(listWorkflows, "the status that stands for none", () => ({ status: [Status.STATUS_UNSPECIFIED] }), "status[0]"),
  fault(listWorkflows, "an empty type", () => ({ type: ["Steps", ""] }), "type[1]"),
  fault(listWorkflows, "a label without a value", () => ({ label: ["owner"] }), "label[0]"),
  fault(listWorkflows, "65 types", () => ({ type: Array.from({ length: 65 }, (_, i) => `T${i}`) }), "type"),
  fault(listWorkflows, "a page token of nobody's", () => ({ pageToken: "next" }), "page_token", "INVALID_PAGE_TOKEN"),
  fault(getWorkflowTrace, "page_size 1001", () => ({ workflowId, pageSize: 1001 }), "page_size"),
  fault(
    getWorkflowTrace,
    "a page token of a list",
    () => ({ workflowId, pageToken: "WyJ" }),
    "page_token",
    "INVALID_PAGE_TOKEN",
  ),
  fault(getWorkflow, "an id of 513 characters", () => ({ workflowId: "x".repeat(513) }), "workflow_id"),
  fault(watchWorkflows, "a status that is none", () => ({ status: [99 as never] }), "status[0]"),
  fault(watchWorkflows, "a resume token of 257 characters", () => ({ resumeToken: "x".repeat(257) }), "resume_token"),
  fault(pauseWorkflow, "no reason", pause({ reason: "" }), "reason"),
  fault(pauseWorkflow, "a blank reason", pause({ reason: " \t\n" }), "reason"),
  fault(pauseWorkflow, "a reason of 1025 characters", pause({ reason: "x".repeat(1025) }), "reason"),
  fault(pauseWorkflow, "a request_id that is no UUID", pause({ requestId: "42" }), "request_id"),
  fault(pauseWorkflow, "an expiry below a second", pause({ expiresIn: durationFromMs(999) }), "expires_in"),
  fault(pauseWorkflow, "an expiry above 30 days", pause({ expiresIn: durationFromMs(31 * 86_400_000) }), "expires_in"),
  fault(pauseWorkflow, "a wait above a minute", pause({ wait: durationFromMs(60_001) }), "wait"),
  fault(pauseWorkflow, "a negative wait", pause({ wait: durationFromMs(-1) }), "wait"),
  fault(resumeWorkflow, "no reason", pause({ reason: "" }), "reason"),
  fault(resumeWorkflow, "a request_id that is no UUID", pause({ requestId: "{}" }), "request_id"),
  fault(listAuditEntries, "page_size 1001", () => ({ pageSize: 1001 }), "page_size"),
  fault(listAuditEntries, "a phase that is none", () => ({ phase: [9 as never] }), "phase[0]"),
  fault(listAuditEntries, "a page token of nobody's", () => ({ pageToken: "x" }), "page_token", "INVALID_PAGE_TOKEN"),
];

/** 400 where the protocol shows it: streams over Connect tell their failures in the body. */
function httpStatus(door: Door, method: DescMethod, status: number): number | undefined {
  if (door.protocol === "grpc") return undefined;
  if (door.protocol === "grpc-web") return 200;
  return door.protocol === "connect" && method.methodKind !== "unary" ? 200 : status;
}

describe.each(protocols)("by %s", (protocol) => {
  test.each(faults)("$method.name with $what: the field is named, and it is recorded", async (one) => {
    const door = doorOf(one.method, protocol);
    const callId = randomUUID();
    const answer = await call(door, server.url, one.request() as never, { token, callId });
    expect(answer).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: one.reason,
      domain: "missioncontrol",
      httpStatus: httpStatus(door, one.method, 400),
      messages: [],
    });
    expect(new Set(answer.violations.map(({ field }) => field))).toEqual(new Set([one.field]));
    expect(answer.message).toContain(one.reason === "INVALID_ARGUMENT" ? one.field : "page_token");
    expect(answer.violations[0]?.description).not.toBe("");
    const entries = (await entriesOf(server, callId)).map(told);
    // Whether a page token is good is for the service to say: the read was allowed by then.
    expect([[`DENIED ${one.reason}`], ["READ", `OUTCOME ${one.reason}`]]).toContainEqual(entries);
  });

  test("several faults are told at once", async () => {
    const answer = await call(
      doorOf(pauseWorkflow, protocol),
      server.url,
      { workflowId, reason: " ", requestId: "42", wait: durationFromMs(-1) },
      { token },
    );
    expect(answer.violations.map(({ field }) => field).sort()).toEqual(["reason", "request_id", "wait"]);
    for (const { field } of answer.violations) expect(answer.message).toContain(field);
  });

  test("an engine that is not there: the answer names those that are", async () => {
    for (const method of [listWorkflows, watchWorkflows]) {
      const callId = randomUUID();
      const door = doorOf(method as DescMethod, protocol);
      const answer = await call(door, server.url, { engine: ["temporal"] } as never, { token, callId });
      expect(answer).toMatchObject({
        code: "INVALID_ARGUMENT",
        reason: "UNKNOWN_ENGINE",
        metadata: { engine: "temporal" },
      });
      expect(answer.message).toContain("restate");
      await expect
        .poll(async () => (await entriesOf(server, callId)).map(told))
        .toEqual(["READ", "OUTCOME UNKNOWN_ENGINE"]);
    }
  });

  test("a page token with other filters than it was given out for is refused", async () => {
    await engine.start("Steps/run", { count: 1, ms: 1 });
    const list = doorOf(listWorkflows, protocol);
    const { messages } = await call(list, server.url, { pageSize: 1 }, { token });
    const pageToken = messages[0]?.nextPageToken ?? "";
    expect(pageToken).not.toBe("");
    expect(await call(list, server.url, { pageSize: 1, type: ["Sleeper"], pageToken }, { token })).toMatchObject({
      reason: "INVALID_PAGE_TOKEN",
    });
    expect(await call(list, server.url, { pageSize: 2, pageToken }, { token })).toMatchObject({ code: "OK" });
  });

  test("page_size 0 is the default", async () => {
    expect(await call(doorOf(listWorkflows, protocol), server.url, { pageSize: 0 }, { token })).toMatchObject({
      code: "OK",
    });
  });

  test("a message above 1 MiB is refused, and it is recorded", async () => {
    const callId = randomUUID();
    const answer = await call(
      doorOf(pauseWorkflow, protocol),
      server.url,
      { workflowId, reason: "x".repeat(1024 * 1024) },
      { token, callId },
    );
    expect(answer).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "MESSAGE_TOO_LARGE",
      ...(protocol === "rest" && { httpStatus: 413 }),
      callId,
    });
    expect((await entriesOf(server, callId)).map(told)).toEqual(["DENIED MESSAGE_TOO_LARGE"]);
  });

  test("bytes that are no request are refused, and it is recorded", async () => {
    const callId = randomUUID();
    const body = protocol.startsWith("grpc") ? new Uint8Array([0x0a, 0xff, 0x01]) : '{"reason": "no end';
    const answer = await call(doorOf(pauseWorkflow, protocol), server.url, { workflowId }, { token, callId, body });
    expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_ARGUMENT", callId });
    expect(answer.message).not.toBe("");
    expect((await entriesOf(server, callId)).map(told)).toEqual(["DENIED INVALID_ARGUMENT"]);
  });
});

/** What only JSON can get wrong. */
describe.each([
  { what: "a misspelled field", body: '{"reason": "x", "validate_olny": true}', names: "validate_olny" },
  { what: "a field of another type", body: '{"reason": 42}', names: "reason" },
  { what: "a duration that is none", body: '{"reason": "x", "wait": "soon"}', names: "Duration" },
  { what: "no object", body: '["pause"]', names: "" },
  { what: "a text that is not UTF-8", body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]), names: "" },
])("$what", ({ body, names }) => {
  test.each(doorsOf(pauseWorkflow).filter(({ protocol }) => !protocol.startsWith("grpc")))(
    "by $name: refused, named, recorded",
    async (door) => {
      const callId = randomUUID();
      const answer = await call(door, server.url, { workflowId }, { token, callId, body });
      expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_ARGUMENT", httpStatus: 400 });
      expect(answer.message).toContain(names);
      expect((await entriesOf(server, callId)).map(told)).toEqual(["DENIED INVALID_ARGUMENT"]);
    },
  );
});

test.each<[string, string, string]>([
  ["an unknown parameter", "colour=red", "colour"],
  ["an enum's unknown name", "status=BOGUS", "status"],
  ["an enum's name in lower case", "status=running", "status"],
  ["a number that is none", "page_size=many", "page_size"],
  ["a time that is none", "created_after=yesterday", "created_after"],
  ["a parameter given twice", "page_size=1&page_size=2", "page_size"],
])("REST, %s: 400, the parameter is named, and it is recorded", async (_, query, field) => {
  const callId = randomUUID();
  const answer = await call(doorOf(listWorkflows, "rest"), server.url, {}, { token, callId, query });
  expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_ARGUMENT", httpStatus: 400, callId });
  expect(answer.violations.map((violation) => violation.field)).toEqual([field]);
  expect((await entriesOf(server, callId)).map(told)).toEqual(["DENIED INVALID_ARGUMENT"]);
});

test.each<[string, string, string, number, string]>([
  ["a path that is not there", "GET", "/v1/nothing", 404, "UNKNOWN_PATH"],
  ["a method that the path does not know", "DELETE", "/v1/workflows/restate:inv_1", 405, "METHOD_NOT_ALLOWED"],
  ["a verb that is not there", "POST", "/v1/workflows/restate:inv_1:cancel", 405, "METHOD_NOT_ALLOWED"],
  ["a half percent code", "GET", "/v1/workflows/restate%3", 400, "INVALID_ARGUMENT"],
])("REST, %s: %s %s is %i %s, and it is recorded", async (_, method, path, status, reason) => {
  const callId = randomUUID();
  const response = await fetch(server.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, "x-request-id": callId },
  });
  expect(response.status).toBe(status);
  const { details } = (await response.json()) as { details: unknown[] };
  expect(details).toContainEqual(expect.objectContaining({ reason, domain: "missioncontrol" }));
  if (status === 405) expect(response.headers.get("allow")).toMatch(/GET|POST/);
  expect((await entriesOf(server, callId)).map(told)).toEqual([`DENIED ${reason}`]);
});

test.each(protocols.filter((protocol) => protocol !== "rest"))(
  "%s, an RPC that is not there: UNIMPLEMENTED, and it is recorded",
  async (protocol) => {
    const callId = randomUUID();
    const cancel = { ...pauseWorkflow, name: "CancelWorkflow" } as typeof pauseWorkflow;
    const sent: Sent = { token, callId };
    const answer = await call(doorOf(cancel, protocol), server.url, { workflowId, reason: "x" }, sent);
    expect(answer).toMatchObject({ code: "UNIMPLEMENTED", reason: "UNKNOWN_METHOD", callId });
    expect((await entriesOf(server, callId)).map(told)).toEqual(["DENIED UNKNOWN_METHOD"]);
  },
);

test("behind all of that, the workflow was never touched", async () => {
  expect((await server.control.getWorkflow({ workflowId })).workflow?.holds).toEqual([]);
  const { entries } = await server.audit.listAuditEntries({ target: workflowId, phase: [Phase.SYSTEM, Phase.INTENT] });
  expect(entries).toEqual([]);
});
