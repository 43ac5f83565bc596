import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type GateServer, startGateServer } from "../fixture/gate-server.ts";

let server: GateServer;
let url: string;

beforeEach(async () => {
  await start();
});

afterEach(async () => {
  await server.stop();
});

async function start(...options: Parameters<typeof startGateServer>): Promise<void> {
  server = await startGateServer(...options);
  url = await server.hookUrl();
}

const step = {
  name: "refund",
  stepType: "capability",
  capabilityId: "io.pay",
  agentName: "support",
  riskLevel: "HIGH",
};

interface Answer {
  readonly status: number;
  readonly body: { readonly decision?: string; readonly reason?: string };
}

/** As the runtime posts: nothing but a content type. */
async function post(body: unknown, to = url, signal?: AbortSignal): Promise<Answer> {
  const answer = await fetch(to, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal && { signal }),
  });
  return { status: answer.status, body: (await answer.json()) as Answer["body"] };
}

function hook(event: string, workflowId: string, more: object = {}): object {
  return {
    event,
    traceId: "t-1",
    workflowId,
    ...(event.endsWith("step") && { step, inputs: { secret: "x" } }),
    ...more,
  };
}

const idOf = (workflowId: string) => `ai-first:${workflowId}`;

async function shown(workflowId: string) {
  return server.control.getWorkflow({ workflowId: idOf(workflowId) });
}

async function pause(workflowId: string): Promise<void> {
  await server.control.pauseWorkflow({ workflowId: idOf(workflowId), reason: "looks wrong" });
}

async function resume(workflowId: string): Promise<void> {
  await server.control.resumeWorkflow({ workflowId: idOf(workflowId), reason: "is fine" });
}

async function untilShown(workflowId: string, status: Status): Promise<void> {
  await vi.waitFor(async () => expect((await shown(workflowId)).workflow?.status).toBe(status), { timeout: 10_000 });
}

test("a run from its first hook to its last is listed, counted and traced, and what it was given is told nowhere", async () => {
  const id = randomUUID();
  for (const event of ["pre_execution", "pre_step", "post_step"]) {
    expect(await post(hook(event, id))).toMatchObject({ status: 200, body: { decision: "ALLOW" } });
  }
  await post(hook("post_execution", id, { summary: { status: "SUCCESS" } }));
  const { workflow } = await shown(id);
  expect(workflow).toMatchObject({ status: Status.COMPLETED, engine: "ai-first", owner: "support" });
  expect(workflow?.labels).toMatchObject({ risk: "HIGH", agent: "support", trace_id: "t-1" });
  const { entries } = await server.control.getWorkflowTrace({ workflowId: idOf(id) });
  expect(entries.map(({ name }) => name)).toEqual(["ai-first", "refund", "completed"]);
  expect(entries[1]).toMatchObject({ agent: "support", riskLevel: "HIGH" });
  expect(JSON.stringify(entries, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toMatch(
    /secret/,
  );
});

test("a held step's answer stays open until release, then it is ALLOW; the receipt says that no step started", async () => {
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  expect((await shown(id)).workflow?.status).toBe(Status.PAUSING);
  const answered = vi.fn();
  const answer = post(hook("pre_step", id)).finally(answered);
  await untilShown(id, Status.PAUSED);
  const { workflow } = await shown(id);
  expect(workflow?.haltReceipt).toMatchObject({ stepsStartedAfterAccept: 0 });
  expect(answered).not.toHaveBeenCalled();
  await resume(id);
  expect(await answer).toMatchObject({ status: 200, body: { decision: "ALLOW" } });
  await untilShown(id, Status.RUNNING);
});

test("a brake that stands holds a run that nobody has heard of before it begins, and a step by its risk", async () => {
  const { brake } = await server.brakes.engageBrake({
    selector: { labels: ["risk=HIGH"] },
    reason: "no high risk today",
  });
  const id = randomUUID();
  expect(await post(hook("pre_execution", id))).toMatchObject({ body: { decision: "ALLOW" } });
  expect(await post(hook("pre_step", id, { step: { ...step, name: "look", riskLevel: "LOW" } }))).toMatchObject({
    body: { decision: "ALLOW" },
  });
  await post(hook("post_step", id, { step: { ...step, name: "look", riskLevel: "LOW" } }));
  const held = post(hook("pre_step", id));
  await untilShown(id, Status.PAUSED);
  const { brake: all } = await server.brakes.engageBrake({ selector: { everything: true }, reason: "all of it" });
  const young = randomUUID();
  const begin = post(hook("pre_execution", young));
  await untilShown(young, Status.PAUSED);
  await server.brakes.releaseBrake({ brakeId: all?.brakeId ?? "", reason: "fine" });
  expect(await begin).toMatchObject({ body: { decision: "ALLOW" } });
  await untilShown(id, Status.PAUSED);
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "fine" });
  expect(await held).toMatchObject({ body: { decision: "ALLOW" } });
});

test.each(["DENY", "ALLOW", "PAUSE"] as const)(
  "before the runtime's own timeout it is answered %s, which is in the ledger before, and shown",
  async (atTimeout) => {
    await server.stop();
    await start({ hooks: { timeoutMs: 1_000, atTimeout } });
    const id = randomUUID();
    // A step that is tried again.
    for (const event of ["pre_execution", "pre_step", "post_step"]) await post(hook(event, id));
    await pause(id);
    const { status, body } = await post(hook("pre_step", id), url, AbortSignal.timeout(1_000));
    expect({ status, decision: body.decision }).toEqual({ status: 200, decision: atTimeout });
    const { entries } = await server.audit.listAuditEntries({ action: ["gate.hold_timed_out"] });
    expect(entries).toMatchObject([
      { target: idOf(id), message: expect.stringContaining(`step refund was held for as long as the runtime waits`) },
    ]);
    const { workflow } = await shown(id);
    expect(workflow?.status).toBe(Status.PAUSING);
    expect(workflow?.statusDetail).toContain(atTimeout === "ALLOW" ? "refund" : `answered ${atTimeout}`);
  },
);

test("where it cannot be recorded that a held step is let go, its runtime gets no decision at all", async () => {
  await server.stop();
  await start({ hooks: { timeoutMs: 1_000, atTimeout: "ALLOW" } });
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  const lock = new DatabaseSync(server.databasePath);
  lock.exec("BEGIN IMMEDIATE");
  const { status, body } = await post(hook("pre_step", id));
  lock.close();
  expect({ status, decision: body.decision }).toEqual({ status: 503, decision: undefined });
});

test("the end of an earlier attempt, told late, neither lets go nor fails a step that is held: it is ALLOW on release", async () => {
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  const answered = vi.fn();
  const held = post(hook("pre_step", id)).finally(answered);
  await untilShown(id, Status.PAUSED);
  await post(hook("post_execution", id, { summary: { status: "FAILED" } }));
  expect(answered).not.toHaveBeenCalled();
  const { workflow } = await shown(id);
  expect(workflow?.status).toBe(Status.PAUSED);
  await resume(id);
  expect(await held).toMatchObject({ status: 200, body: { decision: "ALLOW" } });
  await untilShown(id, Status.RUNNING);
  await post(hook("post_execution", id, { summary: { status: "SUCCESS" } }));
  await untilShown(id, Status.COMPLETED);
});

test("a workflow that was told to have ended while a step of it was held has ended so once that step's runtime leaves", async () => {
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  const leaving = new AbortController();
  const held = post(hook("pre_step", id), url, leaving.signal).catch(() => "gone");
  await untilShown(id, Status.PAUSED);
  await post(hook("post_execution", id, { summary: { status: "FAILED" } }));
  leaving.abort();
  expect(await held).toBe("gone");
  await untilShown(id, Status.FAILED);
});

test("a post_step that is lost while we are away leaves its step in flight until the workflow asks for the next one", async () => {
  const [id, parallel, unknown] = [randomUUID(), randomUUID(), randomUUID()];
  const other = { step: { ...step, name: "look" } };
  const before = { step: { ...step, name: "before" } };
  for (const event of ["pre_step", "post_step"]) await post(hook(event, id, before));
  for (const one of [id, parallel, unknown]) await post(hook("pre_step", one));
  await post(hook("pre_step", parallel, other));
  await server.restart();
  for (const one of [id, parallel, unknown]) await pause(one);
  const next = { step: { ...step, name: "next" } };
  const answers = [id, parallel, unknown].map((one) => post(hook("pre_step", one, next)));
  await untilShown(id, Status.PAUSED);
  // Of two that ran at the same time, either may run on; and nothing is known of how a workflow takes its steps by its first.
  for (const one of [parallel, unknown]) {
    await vi.waitFor(async () => expect((await shown(one)).workflow?.statusDetail).toContain("refund"));
    expect((await shown(one)).workflow?.status).toBe(Status.PAUSING);
  }
  for (const one of [id, parallel, unknown]) await resume(one);
  for (const answer of answers) expect(await answer).toMatchObject({ body: { decision: "ALLOW" } });
  const { entries } = await server.control.getWorkflowTrace({ workflowId: idOf(id) });
  expect(entries.find(({ name }) => name === "refund")).toMatchObject({ errorMessage: "nobody told how it ended" });
});

test("a release lets go no more in a second than it may", async () => {
  await server.stop();
  await start({}, { releaseRate: 1 });
  const { brake } = await server.brakes.engageBrake({ selector: { everything: true }, reason: "all of it" });
  const ids = Array.from({ length: 30 }, () => randomUUID());
  const answers = ids.map((id) => post(hook("pre_step", id)));
  // The server stops before most of them are answered.
  const all = Promise.allSettled(answers);
  await Promise.all(ids.map((id) => untilShown(id, Status.PAUSED)));
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "fine" });
  expect(await Promise.race(answers)).toMatchObject({ body: { decision: "ALLOW" } });
  await server.stop();
  expect((await all).filter(({ status }) => status === "fulfilled").length).toBeLessThan(ids.length);
  await start();
});

test("a client that goes away while it is held is noticed; when it asks again, it is held again, as one step", async () => {
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  const leaving = new AbortController();
  const left = post(hook("pre_step", id), url, leaving.signal).catch(() => "gone");
  await untilShown(id, Status.PAUSED);
  leaving.abort();
  expect(await left).toBe("gone");
  await vi.waitFor(async () => expect((await shown(id)).workflow?.statusDetail).toContain("whoever asked has left"));
  const again = post(hook("pre_step", id));
  await untilShown(id, Status.PAUSED);
  await resume(id);
  expect(await again).toMatchObject({ body: { decision: "ALLOW" } });
  await post(hook("post_step", id));
  const { entries } = await server.control.getWorkflowTrace({ workflowId: idOf(id) });
  expect(entries.filter(({ name }) => name === "refund")).toHaveLength(1);
});

test("a shutdown answers nobody who waits; after it a new request is held again, and let go with the brake", async () => {
  const id = randomUUID();
  await post(hook("pre_execution", id));
  await pause(id);
  const cut = post(hook("pre_step", id)).then(
    () => "answered",
    () => "cut off",
  );
  await untilShown(id, Status.PAUSED);
  await server.restart();
  expect(await cut).toBe("cut off");
  const again = post(hook("pre_step", id));
  await untilShown(id, Status.PAUSED);
  await resume(id);
  expect(await again).toMatchObject({ status: 200, body: { decision: "ALLOW" } });
});

test("what is no hook, too large, or by a token that is none is refused in a way that no runtime reads as ALLOW", async () => {
  const id = randomUUID();
  const attached = await server.hookUrl("attached");
  const at = url.slice(0, url.lastIndexOf("/"));
  const cases: [status: number, Promise<Answer>][] = [
    [400, post("{")],
    [400, post("null")],
    [400, post([])],
    [400, post(hook("pre_flight", id))],
    [400, post(hook("pre_step", id, { step: undefined }))],
    [400, post(hook("pre_execution", "../../etc"))],
    [400, post(hook("pre_step", id, { step: { ...step, name: "x".repeat(300) } }))],
    [413, post(hook("pre_step", id, { inputs: "x".repeat(300_000) }))],
    [401, post(hook("pre_execution", id), `${at}/mcgt_${"a".repeat(43)}`)],
    [401, post(hook("pre_execution", id), `${at}/${server.token}`)],
    [401, post(hook("pre_execution", id), `${at}/x`)],
    [404, post(hook("pre_execution", id), `${at}/`)],
    [404, post(hook("pre_execution", id), `${url}/more`)],
    [404, post(hook("pre_execution", id), url.replace("ai-first", "others"))],
    [403, post(hook("pre_execution", id), attached)],
  ];
  const answers = await Promise.all(cases.map(([, answer]) => answer));
  for (const [index, { status, body }] of answers.entries()) {
    const [expected] = cases[index] ?? [];
    expect(status).toBe(expected);
    expect(body.decision).toBeUndefined();
  }
  expect((await fetch(url)).status).toBe(405);
  // A form in which errors have status 200 is not used, whatever the client says that it speaks.
  const grpc = await fetch(url, { method: "POST", headers: { "content-type": "application/grpc" }, body: "x" });
  expect(grpc.status).toBe(400);
  expect((await server.control.listWorkflows({})).workflows).toEqual([]);
});

test("a token that is revoked opens nothing any more, and an operator's API is not opened by one", async () => {
  const { gateTokens } = await server.tokens.listGateTokens({});
  await server.tokens.revokeGateToken({ gateTokenId: gateTokens[0]?.gateTokenId ?? "", reason: "leaked" });
  expect((await post(hook("pre_execution", randomUUID()))).status).toBe(401);
  const secret = url.slice(url.lastIndexOf("/") + 1);
  const answer = await fetch(`${server.url}/v1/workflows`, { headers: { authorization: `Bearer ${secret}` } });
  expect(answer.status).toBe(401);
});

test("who waits with a token that is revoked is refused as a new request is, at once, and shown as not known of; others wait on", async () => {
  const others = `${server.url}/v1/gates/ai-first/${await server.gateToken("ai-first", "others")}`;
  await server.brakes.engageBrake({ selector: { everything: true }, reason: "all of it" });
  const [id, other] = [randomUUID(), randomUUID()];
  const held = post(hook("pre_step", id));
  const answered = vi.fn();
  const waits = post(hook("pre_step", other), others).then(answered, () => undefined);
  for (const one of [id, other]) await untilShown(one, Status.PAUSED);
  const { gateTokens } = await server.tokens.listGateTokens({});
  const { gateTokenId = "" } = gateTokens.find(({ name }) => name === "of-ai-first") ?? {};
  await server.tokens.revokeGateToken({ gateTokenId, reason: "leaked" });
  const { status, body } = await held;
  expect({ status, decision: body.decision }).toEqual({ status: 401, decision: undefined });
  expect(await post(hook("pre_step", id))).toEqual({ status, body });
  const { entries } = await server.audit.listAuditEntries({ phase: [Phase.DENIED] });
  expect(entries.filter(({ errorReason }) => errorReason === "TOKEN_REVOKED")).toHaveLength(2);
  const { workflow } = await shown(id);
  expect(workflow?.status).toBe(Status.PAUSING);
  expect(workflow?.statusDetail).toContain('refused while it waited: the gate token "of-ai-first" was revoked');
  await untilShown(other, Status.PAUSED);
  expect(answered).not.toHaveBeenCalled();
  await server.stop();
  await waits;
  await start();
});

test("a token in a URL is neither in the ledger nor in an answer, wherever it was sent", async () => {
  const secret = url.slice(url.lastIndexOf("/") + 1);
  const answers = await Promise.all(
    [`/v1/gates/ai-first/${secret}/more`, `/v1/gates/other/${secret}`, `/v1/${secret}`, `/v1/x?token=${secret}`].map(
      async (path) => (await fetch(server.url + path)).text(),
    ),
  );
  const { entries } = await server.audit.listAuditEntries({ pageSize: 100 });
  const told = JSON.stringify([answers, entries], (_, value) => (typeof value === "bigint" ? String(value) : value));
  expect(told).toContain("gates");
  expect(told).not.toContain(secret.slice(5));
});
