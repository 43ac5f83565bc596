import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import {
  type AuditEntry,
  type ListAuditEntriesRequestSchema,
  AuditEntry_Phase as Phase,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { PauseWorkflowRequestSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import {
  HaltReceipt_OnResume as OnResume,
  Workflow_Status as Status,
  InFlightStep_Outcome as StepOutcome,
  WorkflowSchema,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { statusName } from "../../../src/brakes/status.ts";
import { startTestEngine, type TestEngine } from "../../fixture/restate.ts";
import { startTestServer, type TestServer } from "../../fixture/server.ts";
import { anyStep, expectRan, stepNames, toldToRerun } from "./ran.ts";

/** How long a test looks whether a step starts: longer than any step, sleep or retry of the test agents. */
const lookMs = 1_500;
const wait = durationFromMs(20_000);

type PauseOptions = Omit<MessageInitShape<typeof PauseWorkflowRequestSchema>, "$typeName">;

/**
 * A brake on one workflow, in every state in which it can be, on the real engine in one of its two modes.
 *
 * With virtual queues the engine cuts a step in flight off instead of waiting for it: its worker carries it out to its end all
 * the same, nobody takes the result, and it runs again on resume. That is what differs, and all of it: no step starts after
 * PAUSED in either mode, and what was not in flight runs exactly once.
 */
export function brakeHolds(virtualQueues: boolean): void {
  let engine: TestEngine;
  let server: TestServer;
  beforeAll(async () => {
    engine = await startTestEngine({ virtualQueues });
    server = await startTestServer(engine.adminSocket);
  });
  afterAll(async () => {
    await server?.stop();
    await engine?.stop();
  });

  const pause = (id: string, more: PauseOptions = {}) =>
    server.control.pauseWorkflow({ workflowId: `restate:${id}`, reason: "test", wait, ...more });
  const resume = (id: string) => server.control.resumeWorkflow({ workflowId: `restate:${id}`, reason: "test", wait });
  const get = async (id: string) =>
    (await server.control.getWorkflow({ workflowId: `restate:${id}` })).workflow ?? create(WorkflowSchema);
  const names = (id: string, event: "start" | "end") =>
    engine.steps
      .of(id)
      .filter((one) => one.event === event)
      .map((one) => one.step);

  /** Watches until the workflow has the status. */
  async function untilStatus(id: string, status: Status): Promise<void> {
    const stop = new AbortController();
    const events = server.control.watchWorkflows({}, { signal: stop.signal, timeoutMs: 20_000 });
    for await (const { workflow } of events) {
      if (workflow?.workflowId === `restate:${id}` && workflow.status === status) break;
    }
    stop.abort();
  }

  /** Asserts PAUSED, and that no step starts for as long as one looks. */
  async function expectStill(id: string, ms = lookMs): Promise<void> {
    const { status, haltReceipt, statusDetail } = await get(id);
    expect(statusName(status)).toBe("PAUSED");
    const since = Date.now();
    const inFlight = engine.steps.inFlight(id);
    if (virtualQueues) {
      // What a worker still carries out was cut off, and both the receipt and the status say so.
      const told = toldToRerun(haltReceipt);
      if (inFlight.length > 0) expect(told).not.toEqual([]);
      if (told.length > 0) expect(statusDetail).toMatch(/runs again on resume/);
    } else {
      expect(inFlight).toEqual([]);
    }
    await delay(ms);
    expect(engine.steps.startedSince(id, since)).toBe(0);
    expect(engine.steps.inFlight(id)).toEqual([]);
    expect(statusName((await get(id)).status)).toBe("PAUSED");
  }

  /** The entries as soon as there are any. Polls: the ledger has no other way to tell. */
  async function untilEntries(query: MessageInitShape<typeof ListAuditEntriesRequestSchema>): Promise<AuditEntry[]> {
    const signal = AbortSignal.timeout(20_000);
    for (;;) {
      const { entries } = await server.audit.listAuditEntries(query, { signal });
      if (entries.length > 0) return entries;
      await delay(20, undefined, { signal });
    }
  }

  async function expectFailure(call: Promise<unknown>, code: Code, reason: string): Promise<ConnectError> {
    const error = ConnectError.from(
      await call.then(
        () => new Error("it succeeded"),
        (failure) => failure,
      ),
    );
    expect(Code[error.code]).toBe(Code[code]);
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason, domain: "missioncontrol" });
    return error;
  }

  const inFlight = virtualQueues
    ? "is cut off and runs again on resume"
    : "finishes, its result is kept, and it runs once";
  test(`running, a step in flight: no step starts until release; the step ${inFlight}`, async () => {
    const id = await engine.start("Steps/run", { count: 6, ms: 500 });
    await engine.steps.untilStep(id, "step-2");
    const answer = await pause(id);
    expect(statusName(answer.newStatus)).toBe("PAUSED");
    expect(statusName(answer.previousStatus)).toBe("RUNNING");
    expect(answer.haltReceipt).toMatchObject({
      stepsInFlight: [{ name: "step-2", outcome: virtualQueues ? StepOutcome.RERUNS : StepOutcome.FINISHED }],
      stepsStartedAfterAccept: 0,
      onResume: virtualQueues ? OnResume.MAY_RERUN : OnResume.KEPT,
    });
    await expectStill(id);
    expect(names(id, "start")).toEqual(["step-1", "step-2"]);
    expect(statusName((await resume(id)).newStatus)).toMatch(/RUNNING|COMPLETED/);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 6, toldToRerun(answer.haltReceipt));
    expect(engine.steps.of(id, "step-2").filter((one) => one.event === "end")).toHaveLength(virtualQueues ? 2 : 1);
  });

  test("without waiting, the answer is what is seen: PAUSING until the engine shows it paused", async () => {
    const id = await engine.start("Steps/run", { count: 3, ms: 800 });
    await engine.steps.untilStep(id, "step-1");
    const answer = await pause(id, { wait: durationFromMs(0) });
    // The engine cuts the step off at once with virtual queues: it may already stand.
    if (virtualQueues && answer.newStatus === Status.PAUSED) expect(await engine.status(id)).toBe("paused");
    else expect(statusName(answer.newStatus)).toBe("PAUSING");
    expect(answer.statusDetail).toContain("step-1");
    await engine.steps.untilStep(id, "step-1", "end");
    await untilStatus(id, Status.PAUSED);
    await expectStill(id);
    expect(names(id, "start")).toEqual(["step-1"]);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 3, virtualQueues ? ["step-1"] : []);
  });

  test("waiting ends at the call's deadline with PAUSING, and the brake holds all the same", async () => {
    const start = virtualQueues
      ? engine.start("Steps/run", { count: 3, ms: 100 }, { delayMs: 2_500 })
      : engine.start("Steps/run", { count: 3, ms: 2_500 });
    const id = await start;
    if (virtualQueues) await engine.untilStatus(id, "scheduled");
    else await engine.steps.untilStep(id, "step-1");
    const answer = await server.control.pauseWorkflow(
      { workflowId: `restate:${id}`, reason: "test", wait },
      { timeoutMs: 1_000 },
    );
    expect(statusName(answer.newStatus)).toBe("PAUSING");
    await untilStatus(id, Status.PAUSED);
    expect(names(id, "start").length).toBeLessThanOrEqual(1);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 3, virtualQueues ? ["step-1"] : []);
  });

  test("suspended, awaiting a signal: held, also when the signal arrives; goes on with it after release", async () => {
    const id = await engine.start("SuspendedAwaiter/run");
    await engine.untilStatus(id, "suspended");
    expect(statusName((await pause(id)).newStatus)).toBe("PAUSED");
    await engine.resolveAwakeable(id);
    await expectStill(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 2);
  });

  test("suspended, sleeping: held, also when the timer is due; goes on at once after release", async () => {
    const id = await engine.start("SuspendedSleeper/run", { ms: 1_000 });
    await engine.untilStatus(id, "suspended");
    expect(statusName((await pause(id)).newStatus)).toBe("PAUSED");
    await expectStill(id, 2_000);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 2);
  });

  test.each(["Sleeper/run", "Awaiter/run"])("%s, waiting with an open connection: held", async (target) => {
    const id = await engine.start(target, { ms: 1_000 });
    await engine.steps.untilStep(id, "step-1", "end");
    if (target === "Awaiter/run") await engine.steps.untilAwakeable(id);
    expect(statusName((await pause(id)).newStatus)).toBe("PAUSED");
    if (target === "Awaiter/run") await engine.resolveAwakeable(id);
    await expectStill(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 2);
  });

  test("backing off: no further attempt while held; the receipt says that the step runs again; it does after release", async () => {
    const id = await engine.start("Flaky/run", { failures: 1_000 });
    await engine.steps.untilStep(id, "step-2", "fail");
    const answer = await pause(id);
    expect(statusName(answer.newStatus)).toBe("PAUSED");
    expect(answer.haltReceipt?.onResume).toBe(OnResume.MAY_RERUN);
    await expectStill(id);
    const before = names(id, "start").length;
    await resume(id);
    await engine.steps.until("another attempt", () => names(id, "start").length > before);
  });

  test(`four parallel steps: ${virtualQueues ? "all are cut off, and run again" : "all finish, then it stands"}`, async () => {
    const id = await engine.start("Parallel/run", { ms: 300 });
    await engine.steps.until("four in flight", () => engine.steps.inFlight(id).length === 4);
    const answer = await pause(id);
    expect(statusName(answer.newStatus)).toBe("PAUSED");
    const outcome = virtualQueues ? StepOutcome.RERUNS : StepOutcome.FINISHED;
    expect(answer.haltReceipt?.stepsInFlight.map((step) => step.outcome)).toEqual(Array(4).fill(outcome));
    await expectStill(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 5, toldToRerun(answer.haltReceipt));
  });

  test("scheduled: PAUSING until it comes up, then caught within one step, then PAUSED", async () => {
    const id = await engine.start("Steps/run", { count: 5, ms: 200 }, { delayMs: 1_500 });
    await engine.untilStatus(id, "scheduled");
    const answer = await pause(id, { wait: durationFromMs(200) });
    expect(statusName(answer.newStatus)).toBe("PAUSING");
    expect(answer.statusDetail).toContain("not begun yet");
    await untilStatus(id, Status.PAUSED);
    expect(names(id, "start").length).toBeLessThanOrEqual(1);
    await expectStill(id);
    const { haltReceipt } = await get(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 5, toldToRerun(haltReceipt));
  });

  test("scheduled and released before it is due: starts as if nothing had happened", async () => {
    const id = await engine.start("Steps/run", { count: 2, ms: 50 }, { delayMs: 1_000 });
    await engine.untilStatus(id, "scheduled");
    await pause(id, { wait: durationFromMs(100) });
    expect(statusName((await resume(id)).newStatus)).toBe("PENDING");
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 2);
  });

  test("queued behind another: PAUSING while queued, caught when it comes up", async () => {
    const head = await engine.start("Queue/held/work", { count: 3, ms: 200 });
    const id = await engine.start("Queue/held/work", { count: 3, ms: 200 });
    await engine.untilStatus(id, "pending");
    expect(statusName((await pause(id, { wait: durationFromMs(100) })).newStatus)).toBe("PAUSING");
    await engine.untilStatus(head, "completed");
    await untilStatus(id, Status.PAUSED);
    expect(names(id, "start").length).toBeLessThanOrEqual(1);
    await expectStill(id);
    const { haltReceipt } = await get(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 3, toldToRerun(haltReceipt));
  });

  test("the head of a queue: held, and what is queued behind it waits", async () => {
    const head = await engine.start("Queue/head/work", { count: 3, ms: 200 });
    const next = await engine.start("Queue/head/work", { count: 1, ms: 20 });
    await engine.steps.untilStep(head, "step-1");
    const { haltReceipt } = await pause(head);
    await expectStill(head);
    expect(names(next, "start")).toEqual([]);
    await resume(head);
    await engine.untilStatus(next, "completed");
    expectRan(engine.steps, head, 3, toldToRerun(haltReceipt));
    expectRan(engine.steps, next, 1);
  });

  test("a parent with a running child: the parent takes no further step, the child runs on", async () => {
    const id = await engine.start("Parent/run", { count: 4, ms: 100 });
    await engine.steps.untilStep(id, "step-1", "end");
    expect(statusName((await pause(id)).newStatus)).toBe("PAUSED");
    await expectStill(id);
    const trace = await server.control.getWorkflowTrace({ workflowId: id });
    const child = trace.entries.find((entry) => entry.childWorkflowId !== "")?.childWorkflowId ?? "";
    expect(statusName((await get(child.replace("restate:", ""))).status)).toBe("COMPLETED");
    await resume(id);
    await engine.untilStatus(id, "completed");
  });

  test("already paused: the same brake answers, nothing changes", async () => {
    const id = await engine.start("Steps/run", { count: 5, ms: 200 });
    await engine.steps.untilStep(id, "step-1");
    const first = await pause(id);
    const second = await pause(id);
    expect(second).toMatchObject({ brakeId: first.brakeId, controlledAt: first.controlledAt });
    expect(statusName(second.previousStatus)).toBe("PAUSED");
    expect((await get(id)).holds).toHaveLength(1);
    await resume(id);
    await engine.untilStatus(id, "completed");
  });

  test("ended, unknown and malformed ones are refused by name", async () => {
    const id = await engine.start("Steps/run", { count: 1, ms: 5 });
    await engine.untilStatus(id, "completed");
    await expectFailure(pause(id), Code.FailedPrecondition, "WORKFLOW_ENDED");
    await expectFailure(resume(id), Code.FailedPrecondition, "WORKFLOW_ENDED");
    await expectFailure(pause(`${id.slice(0, -4)}0000`), Code.NotFound, "WORKFLOW_NOT_FOUND");
    await expectFailure(pause("'; DROP TABLE x"), Code.NotFound, "WORKFLOW_NOT_FOUND");
  });

  test("resuming what no brake holds is refused", async () => {
    const id = await engine.start("Awaiter/run");
    await engine.steps.untilAwakeable(id);
    await expectFailure(resume(id), Code.FailedPrecondition, "WORKFLOW_NOT_HELD");
  });

  test("paused in the engine's own tool: PAUSED with an external hold, which release of a brake leaves as it was", async () => {
    const id = await engine.start("Steps/run", { count: 3, ms: 100 });
    await engine.steps.untilStep(id, "step-1");
    await engine.admin("PATCH", `/invocations/${id}/pause`);
    await engine.untilStatus(id, "paused");
    expect(await get(id)).toMatchObject({ status: Status.PAUSED, holds: [{ external: true }] });
    await expectFailure(resume(id), Code.FailedPrecondition, "HELD_IN_ENGINE");
    await pause(id);
    await resume(id);
    await expectStill(id, 500);
    await engine.admin("PATCH", `/invocations/${id}/resume`);
    await engine.untilStatus(id, "completed");
  });

  test("resumed in the engine's own tool while held: halted again, and the ledger says so", async () => {
    const id = await engine.start("Steps/run", { count: 8, ms: 250 });
    await engine.steps.untilStep(id, "step-1");
    const first = await pause(id);
    const before = names(id, "start").length;
    await engine.admin("PATCH", `/invocations/${id}/resume`);
    // It may be caught before a step begins: the ledger tells in any case.
    const drift = await untilEntries({ target: `restate:${id}`, action: ["brake.drift"] });
    expect(drift).toHaveLength(1);
    await untilStatus(id, Status.PAUSED);
    await expectStill(id);
    const again = await get(id);
    expect(names(id, "start").length - before).toBeLessThanOrEqual(2);
    expect((await server.audit.listAuditEntries({ target: `restate:${id}`, action: ["brake.drift"] })).entries).toEqual(
      drift,
    );
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 8, [...toldToRerun(first.haltReceipt), ...toldToRerun(again.haltReceipt)]);
  });

  test("resume while PAUSING: it goes on and does not end up paused", async () => {
    const id = await engine.start("Steps/run", { count: 4, ms: 400 });
    await engine.steps.untilStep(id, "step-1");
    await pause(id, { wait: durationFromMs(0) });
    const answer = await server.control.resumeWorkflow({ workflowId: `restate:${id}`, reason: "test" });
    expect(statusName(answer.newStatus)).toBe("RESUMING");
    await engine.untilStatus(id, "completed");
    // With virtual queues the pause may have come through before the release, and cut one off.
    expectRan(engine.steps, id, 4, virtualQueues ? [anyStep] : []);
  });

  test("pause while RESUMING: it stands again", async () => {
    const id = await engine.start("Steps/run", { count: 6, ms: 300 });
    await engine.steps.untilStep(id, "step-1");
    const first = await pause(id);
    await server.control.resumeWorkflow({ workflowId: `restate:${id}`, reason: "test" });
    const second = await pause(id);
    expect(statusName(second.newStatus)).toBe("PAUSED");
    await expectStill(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 6, [...toldToRerun(first.haltReceipt), ...toldToRerun(second.haltReceipt)]);
  });

  test("the server stopped and started anew: what is held stays held, what is PAUSING comes to stand", async () => {
    const standing = await engine.start("Steps/run", { count: 4, ms: 100 });
    const halting = await engine.start("Steps/run", { count: 4, ms: 1_500 });
    await engine.steps.untilStep(standing, "step-1");
    await engine.steps.untilStep(halting, "step-1");
    const { haltReceipt } = await pause(standing);
    await pause(halting, { wait: durationFromMs(0) });
    await server.restart();
    await untilStatus(halting, Status.PAUSED);
    expect(names(halting, "start")).toEqual(["step-1"]);
    await expectStill(standing);
    for (const id of [standing, halting]) await resume(id);
    for (const id of [standing, halting]) await engine.untilStatus(id, "completed");
    expectRan(engine.steps, standing, 4, toldToRerun(haltReceipt));
    expectRan(engine.steps, halting, 4, virtualQueues ? ["step-1"] : []);
  });

  test("the engine killed while PAUSING forgets the pause, and the brake holds all the same", async () => {
    const id = await engine.start("Steps/run", { count: 4, ms: 1_500 });
    await engine.steps.untilStep(id, "step-1");
    await pause(id, { wait: durationFromMs(0) });
    await engine.crashEngine();
    await untilStatus(id, Status.PAUSED);
    await expectStill(id, 2_000);
    expect(new Set(names(id, "start"))).toEqual(new Set(["step-1"]));
    await resume(id);
    await engine.untilStatus(id, "completed");
    // The crash made the step run again, whatever the mode.
    expect(new Set(names(id, "end"))).toEqual(new Set(stepNames(4)));
    for (const step of ["step-2", "step-3", "step-4"]) expect(engine.steps.of(id, step)).toHaveLength(2);
  });

  test("the engine killed while PAUSED: still PAUSED", async () => {
    const id = await engine.start("Steps/run", { count: 4, ms: 100 });
    await engine.steps.untilStep(id, "step-1");
    const { haltReceipt } = await pause(id);
    await engine.crashEngine();
    await expectStill(id);
    await resume(id);
    await engine.untilStatus(id, "completed");
    expectRan(engine.steps, id, 4, toldToRerun(haltReceipt));
  });

  test("expires by itself, and only the brake whose time has come", async () => {
    const alone = await engine.start("Steps/run", { count: 5, ms: 200 });
    const twice = await engine.start("Steps/run", { count: 5, ms: 200 });
    for (const id of [alone, twice]) await engine.steps.untilStep(id, "step-1");
    await Promise.all([alone, twice].map((id) => pause(id, { expiresIn: durationFromMs(2_000) })));
    await pause(twice);
    expect((await get(twice)).holds).toHaveLength(2);
    await engine.untilStatus(alone, "completed");
    await expectStill(twice);
    expect((await get(twice)).holds).toHaveLength(1);
    const { entries } = await server.audit.listAuditEntries({ action: ["brake.expired"] });
    expect(entries.map((entry) => entry.target).toSorted()).toEqual(
      [alone, twice].map((id) => `restate:${id}`).toSorted(),
    );
    await resume(twice);
    await engine.untilStatus(twice, "completed");
  });

  test("100 requests at once with one request_id do one thing and get one answer; with other content it is refused", async () => {
    const id = await engine.start("Awaiter/run");
    await engine.steps.untilAwakeable(id);
    const requestId = randomUUID();
    const answers = await Promise.all(Array.from({ length: 100 }, () => pause(id, { requestId })));
    expect(new Set(answers.map((answer) => `${answer.brakeId} ${answer.auditEntryId}`)).size).toBe(1);
    const engaged = await server.audit.listAuditEntries({ target: `restate:${id}`, action: ["brake.engaged"] });
    expect(engaged.entries).toHaveLength(1);
    await expectFailure(pause(id, { requestId, reason: "another" }), Code.AlreadyExists, "REQUEST_ID_REUSED");
    await server.restart();
    expect((await pause(id, { requestId })).auditEntryId).toBe(answers[0]?.auditEntryId);
    await resume(id);
  });

  test("an etag that is no longer current stops the request; the current one lets it through", async () => {
    const id = await engine.start("Awaiter/run");
    await engine.steps.untilAwakeable(id);
    const { etag } = await get(id);
    await pause(id, { etag });
    await expectFailure(pause(id, { etag, expiresIn: durationFromMs(60_000) }), Code.Aborted, "ETAG_MISMATCH");
    await resume(id);
  });

  test("validate_only changes nothing and is in the ledger", async () => {
    const id = await engine.start("Awaiter/run");
    await engine.steps.untilAwakeable(id);
    const answer = await pause(id, { validateOnly: true });
    expect(answer.brakeId).toBe("");
    expect(statusName(answer.newStatus)).toBe("RUNNING");
    expect((await get(id)).holds).toEqual([]);
    const { entries } = await server.audit.listAuditEntries({ target: `restate:${id}`, phase: [Phase.INTENT] });
    expect(entries).toHaveLength(1);
  });

  test("every control call has its durable intent before its brake, and its outcome after", async () => {
    const id = await engine.start("Steps/run", { count: 5, ms: 100 });
    await engine.steps.untilStep(id, "step-1");
    const answer = await pause(id);
    await resume(id);
    const { entries } = await server.audit.listAuditEntries({ target: `restate:${id}` });
    const story = entries
      .toReversed()
      .filter((entry) => entry.phase !== Phase.READ)
      .map((entry) =>
        entry.phase === Phase.SYSTEM ? entry.action : `${Phase[entry.phase as never] ?? entry.phase} ${entry.action}`,
      );
    expect(story.filter((line) => line !== "brake.accepted")).toEqual([
      `${Phase.INTENT} runtime.pause`,
      "brake.engaged",
      "brake.standstill",
      `${Phase.OUTCOME} runtime.pause`,
      `${Phase.INTENT} runtime.resume`,
      "brake.released",
      "brake.letting-go",
      "brake.settled",
      `${Phase.OUTCOME} runtime.resume`,
    ]);
    const intent = entries.find((entry) => entry.entryId === answer.auditEntryId);
    expect(intent).toMatchObject({ phase: Phase.INTENT, reason: "test", principal: { subject: "alice" } });
    await engine.untilStatus(id, "completed");
  });
}
