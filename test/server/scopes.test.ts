import { create, type DescMethod, getOption, isMessage, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Access } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes, SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import {
  GetHealthResponseSchema,
  WatchWorkflowsResponse_Kind as Kind,
  ListWorkflowsResponseSchema,
  MissionControl,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../gen/missioncontrol/v1/revocations_pb.ts";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { permissions, type Role, type RoleScope } from "../../src/policy/roles.ts";
import { type Answer, call, type Door, doorOf, doorsOf, readUntil } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

/** Gates have tokens in place of roles. */
const methods = [MissionControl, Brakes, AuditLog, Revocations, GateTokens, Access].flatMap((service): DescMethod[] => [
  ...service.methods,
]);
const types = ["SuspendedAwaiter", "SuspendedSleeper", "Reserved", "Parent", "Steps", "Queue"];
const labels = ["owner=test-team", "resume=sre_admin", "risk=low", "service=Queue", "team=nobody"];

/** Roles that may do everything there is, each within a scope of its own. */
const scopes = fc.sample(
  fc.record<RoleScope>(
    {
      types: fc.uniqueArray(fc.constantFrom(...types), { minLength: 1, maxLength: 3 }),
      labels: fc.uniqueArray(fc.constantFrom(...labels), { minLength: 1, maxLength: 1 }),
    },
    { requiredKeys: [] },
  ),
  { numRuns: 40, seed: 7 },
);
const limited = scopes.filter(({ types, labels }) => types ?? labels).slice(0, 16);
const everything = permissions.filter((permission) => permission !== "gates.attach");
const roles: Record<string, Role> = {
  sre_admin: { permissions: everything },
  ...Object.fromEntries(limited.map((scope, at) => [`scoped${at}`, { permissions: everything, scope }])),
};

/** One of the scoped callers, and what must not be there for them. */
interface Caller {
  readonly token: string;
  readonly within: readonly Workflow[];
  /** The engine's own ids of what is beyond, and the brakes that hold nothing else. */
  readonly secrets: readonly string[];
}

let engine: TestEngine;
let server: TestServer;
let workflows: Workflow[];
let callers: Caller[];
let entryIds: string[];
/** Brake → the workflows that it holds. */
const brakes = new Map<string, readonly string[]>();
const unknownId = "restate:inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket, { roles });
  const parent = await engine.start("Parent/run", { count: 10_000, ms: 100 });
  const others = await Promise.all([
    engine.start("SuspendedAwaiter/run"),
    engine.start("SuspendedAwaiter/run"),
    engine.start("SuspendedSleeper/run", { ms: 600_000 }),
    engine.start("Reserved/run", { count: 10_000, ms: 100 }),
    engine.start("Queue/k/work", { count: 10_000, ms: 100 }),
  ]);
  await engine.steps.untilStep(parent, "step-1");
  workflows = await vi.waitFor(
    async () => {
      const { workflows } = await server.control.listWorkflows({});
      // The parent's child, too.
      if (workflows.length < others.length + 2) throw new Error(`only ${workflows.length} workflows yet`);
      return workflows;
    },
    { timeout: 30_000, interval: 100 },
  );
  const ids = workflows.map(({ workflowId }) => workflowId);
  await brake({ everything: true }, ids);
  for (const id of ids) await brake({ workflowIds: [id] }, [id]);
  const pauses = ids.map((workflowId) => server.control.pauseWorkflow({ workflowId, reason: "test" }));
  for (const pause of pauses) {
    const { brakeId, workflowId } = await pause;
    brakes.set(brakeId, [...new Set([...(brakes.get(brakeId) ?? []), workflowId])]);
  }
  callers = await Promise.all(limited.map((scope, at) => callerOf(scope, `scoped${at}`)));
  const { entries } = await server.audit.listAuditEntries({ pageSize: 1_000 });
  entryIds = entries.map(({ entryId }) => entryId);
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

async function brake(
  selector: { everything?: boolean; workflowIds?: string[] },
  held: readonly string[],
): Promise<void> {
  const { brake } = await server.brakes.engageBrake({ selector, excludeDescendants: true, reason: "test" });
  brakes.set(brake?.brakeId ?? "", held);
}

async function callerOf(scope: RoleScope, role: string): Promise<Caller> {
  const isWithin = ({ type, labels }: Workflow) =>
    (scope.types?.includes(type) ?? true) &&
    (scope.labels ?? []).every((label) => Object.entries(labels).some(([key, value]) => `${key}=${value}` === label));
  const within = workflows.filter(isWithin);
  const beyond = workflows.filter((workflow) => !isWithin(workflow)).map(({ workflowId }) => workflowId);
  const hidden = [...brakes].filter(([, held]) => held.every((id) => beyond.includes(id))).map(([id]) => id);
  const secrets = [...beyond.map((id) => id.slice("restate:".length)), ...hidden];
  return { token: await server.token([role], `of ${role}`), within, secrets };
}

/** What a request may say in each field; fields that are not here are left out. */
const fields = (): Record<string, fc.Arbitrary<unknown>> => {
  const ids = workflows.map(({ workflowId }) => workflowId);
  const someId = fc.oneof(
    fc.constantFrom(...ids),
    fc.constantFrom(...ids.map((id) => id.slice("restate:".length))),
    fc.constant(unknownId),
  );
  const someTypes = fc.uniqueArray(fc.constantFrom(...types), { maxLength: 2 });
  const someLabels = fc.uniqueArray(fc.constantFrom(...labels), { maxLength: 1 });
  const selector = fc
    .oneof(
      fc.record({ everything: fc.constant(true) }),
      fc.record({ types: fc.uniqueArray(fc.constantFrom(...types), { minLength: 1 }) }),
      fc.record({ labels: fc.uniqueArray(fc.constantFrom(...labels), { minLength: 1, maxLength: 2 }) }),
      fc.record({ workflowIds: fc.uniqueArray(fc.constantFrom(...ids), { minLength: 1, maxLength: 3 }) }),
    )
    .map((init) => create(SelectorSchema, init));
  return {
    workflow_id: someId,
    brake_id: fc.constantFrom(...brakes.keys(), "br_none"),
    entry_id: fc.constantFrom(...entryIds),
    target: fc.oneof(fc.constant(""), someId),
    selector,
    exclude_descendants: fc.boolean(),
    include_workflows: fc.boolean(),
    sample_size: fc.nat(10),
    type: someTypes,
    label: someLabels,
    page_size: fc.nat(3),
    validate_only: fc.constant(true),
    reason: fc.constant("test"),
    subject: fc.constantFrom("", "alice"),
    emergency: fc.boolean(),
    issuer: fc.constant("mission-control-dev"),
    token_id: fc.constant("of-nobody"),
    gate_token_id: fc.constant("gt_none"),
    after: fc.constant(0n),
  };
};

function requestFor(method: DescMethod): fc.Arbitrary<Record<string, unknown>> {
  const known = fields();
  if (method === Access.method.explainPolicy) known.action = fc.constant("runtime.pause");
  const own = method.input.fields.filter(({ name }) => known[name] !== undefined);
  // Of a revocation, one of the two.
  const used = own.filter(({ name }) => name !== "subject" || method.parent !== Revocations);
  return fc.record(
    Object.fromEntries(used.map(({ name, localName }) => [localName, known[name] as fc.Arbitrary<unknown>])),
  );
}

/** The first messages of a stream, all of one that ends by itself. */
async function ask(door: Door, method: DescMethod, request: object, token: string): Promise<Answer<DescMethod>> {
  const leave = new AbortController();
  const conversation = door.open(server.url, request as never, { token, signal: leave.signal });
  const messages: Answer<DescMethod>["messages"] = [];
  const endless = method.name.startsWith("Watch") || method === AuditLog.method.followAuditEntries;
  for (;;) {
    const step = await conversation.next();
    if (step.done) return { ...step.value, messages };
    messages.push(step.value);
    const { kind, entry } = step.value as { kind?: number; entry?: unknown };
    if (!endless || entry !== undefined || (method.name === "WatchWorkflows" && kind !== Kind.SNAPSHOT_END)) continue;
    leave.abort();
    await conversation.return(step.value as never).catch(() => undefined);
    return {
      code: "OK",
      message: "",
      reason: "",
      domain: "",
      metadata: {},
      violations: [],
      httpStatus: 200,
      callId: "",
      messages,
    };
  }
}

/** All that an answer says, as bytes: texts in nested bytes are found in them, too. */
function saidIn(method: DescMethod, { messages, ...ending }: Answer<DescMethod>): Buffer {
  return Buffer.concat([
    ...messages.map((message) => Buffer.from(toBinary(method.output, message))),
    Buffer.from(JSON.stringify({ ...ending, callId: "" })),
  ]);
}

test("no answer of any RPC by any protocol mentions a workflow, or a brake, that is beyond the caller's scope", async () => {
  const doors = methods.flatMap((method) => doorsOf(method).map((door) => ({ door, method })));
  expect(callers.filter(({ within, secrets }) => within.length > 0 && secrets.length > 0).length).toBeGreaterThan(3);
  const asked = new Set<string>();
  const some = fc
    .record({ caller: fc.constantFrom(...callers), at: fc.constantFrom(...doors) })
    .chain(({ caller, at }) => requestFor(at.method).map((request) => ({ caller, ...at, request })));
  await fc.assert(
    fc.asyncProperty(some, async ({ caller, door, method, request }) => {
      const answer = await ask(door, method, request, caller.token);
      asked.add(method.name);
      const said = saidIn(method, answer);
      const named = toJsonString(method.input, create(method.input, request as never));
      // What the caller wrote may come back to them.
      const leaked = caller.secrets.filter((secret) => said.includes(secret) && !named.includes(secret));
      expect(leaked, `${door.name} ${method.name} ${named}: ${said}`).toEqual([]);
      // What they named and must not see is answered like what there is not.
      for (const [name, other] of [
        ["workflowId", unknownId],
        ["brakeId", "br_none"],
      ] as const) {
        const one = String(request[name] ?? "");
        if (!caller.secrets.some((secret) => one.endsWith(secret))) continue;
        const nowhere = one.startsWith("inv_") ? other.slice("restate:".length) : other;
        const like = await ask(door, method, { ...request, [name]: nowhere }, caller.token);
        expect(plain(method, answer, one)).toEqual(plain(method, like, nowhere));
      }
      for (const message of answer.messages) {
        if (isMessage(message, GetHealthResponseSchema)) expect(message.totalWorkflows).toBe(caller.within.length);
        if (!isMessage(message, ListWorkflowsResponseSchema)) continue;
        const mine = caller.within.map(({ workflowId }) => workflowId);
        expect(message.workflows.filter(({ workflowId }) => !mine.includes(workflowId))).toEqual([]);
      }
    }),
    { numRuns: 700, endOnFailure: true },
  );
  expect([...asked].sort()).toEqual(methods.map(({ name }) => name).sort());
}, 120_000);

function plain(method: DescMethod, { messages, callId: _, ...ending }: Answer<DescMethod>, id: string): string {
  const said = [JSON.stringify(ending), ...messages.map((message) => toJsonString(method.output, message))].join("\n");
  // The ledger has grown between the two: by the first call.
  const still = method === AuditLog.method.followAuditEntries ? said.replace(/"after":"\d+"/, "") : said;
  return still.replaceAll(id, "ID").replaceAll(id.replace("restate:", ""), "ID");
}

test("a preview counts what is within, and nothing else", async () => {
  for (const { token, within } of callers) {
    const { messages } = await call(
      doorOf(Brakes.method.previewBrake, "connect"),
      server.url,
      { selector: { everything: true }, excludeDescendants: true },
      { token },
    );
    expect(messages[0]?.matched).toBe(within.length);
  }
});

test("the ledger tells nothing of calls about what is beyond, one's own refused ones neither", async () => {
  for (const { token, secrets } of callers) {
    const target = secrets.find((secret) => secret.startsWith("inv_"));
    if (target === undefined) continue;
    const get = doorOf(MissionControl.method.getWorkflow, "grpc");
    expect((await call(get, server.url, { workflowId: target }, { token })).code).toBe("NOT_FOUND");
    const list = doorOf(AuditLog.method.listAuditEntries, "grpc");
    const { messages } = await call(list, server.url, { target: `restate:${target}` }, { token });
    expect(messages[0]?.entries).toEqual([]);
  }
});

test("a watch is silent about changes of what is beyond", async () => {
  const caller = callers.find(
    ({ within, secrets }) => within.length > 0 && secrets.some((one) => one.startsWith("inv_")),
  );
  if (caller === undefined) throw new Error("no scope is in between");
  const watch = doorOf(MissionControl.method.watchWorkflows, "grpc").open(server.url, {}, { token: caller.token });
  const snapshot = await readUntil(watch, ({ kind }) => kind === Kind.SNAPSHOT_END);
  expect(snapshot.filter(({ workflow }) => workflow)).toHaveLength(caller.within.length);
  const mine = caller.within[0]?.workflowId ?? "";
  const theirs = workflows.filter(({ workflowId }) => caller.secrets.includes(workflowId.slice("restate:".length)));
  for (const { workflowId } of [...theirs, { workflowId: mine }]) {
    await server.brakes.engageBrake({ selector: { workflowIds: [workflowId] }, reason: "one more" });
  }
  const changes = await readUntil(watch, ({ workflow }) => workflow?.workflowId === mine && workflow.holds.length > 1);
  await watch.return(undefined as never);
  const ids = caller.within.map(({ workflowId }) => workflowId);
  expect(changes.filter(({ workflow }) => workflow && !ids.includes(workflow.workflowId))).toEqual([]);
});

test("every RPC that is about a workflow is governed with the field that names it", () => {
  for (const method of methods) {
    if (method.input.field.workflowId === undefined) continue;
    expect(getOption(method, governance).targetField, method.name).toBe("workflow_id");
  }
});
