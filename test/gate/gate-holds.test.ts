import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { GateRule } from "../../src/brakes/gates.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { aRule, newOnes } from "./rule.ts";
import { type GateServer, startGateServer } from "./server.ts";

/** How long a test looks whether a step starts. */
const lookMs = 700;

describe.each([{ virtualQueues: false }, { virtualQueues: true }])("virtual queues $virtualQueues", (mode) => {
  let server: GateServer;
  let gate: Gate;
  let engine: TestEngine;
  beforeAll(async () => {
    server = await startGateServer();
    gate = createGate({ url: server.url, token: () => server.token() });
    engine = await startTestEngine({ ...mode, hooks: [gate.hooks] });
    await gate.ready();
  });
  afterAll(async () => {
    await engine?.stop();
    await gate?.close();
    await server?.stop();
  });
  afterEach(() => apply([]));

  /** Sets the rules, and resolves when the gate has confirmed them. */
  async function apply(rules: readonly GateRule[]) {
    const revision = server.gates.setRules("restate", rules);
    const [confirmation] = await server.gates.untilApplied("restate", revision, 5_000);
    if (confirmation?.appliedTime === undefined) throw new Error("the gate did not confirm");
    return confirmation;
  }
  const resume = async (id: string) => {
    expect((await engine.admin("PATCH", `/invocations/${id}/resume`)).status).toBe(200);
  };
  const names = (id: string, event: "start" | "end") =>
    engine.steps
      .of(id)
      .filter((one) => one.event === event)
      .map((one) => one.step);
  /** Asserts that the engine shows it as paused, and that none of its steps starts for as long as one looks. */
  const expectStill = async (id: string) => {
    await engine.untilStatus(id, "paused");
    const since = Date.now();
    expect(engine.steps.inFlight(id)).toEqual([]);
    await delay(lookMs);
    expect(engine.steps.startedSince(id, since)).toBe(0);
    expect(await engine.status(id)).toBe("paused");
  };
  /** Releases as Mission Control does: the gate first, then the engine. */
  const release = async (id: string) => {
    await apply([]);
    await resume(id);
    await engine.untilStatus(id, "completed");
  };

  test("running: the step in flight finishes and its result is kept, the next one does not start, each runs once", async () => {
    const id = await engine.start("Steps/run", { count: 5, ms: 200 });
    await engine.steps.untilStep(id, "step-2");
    const { stepsInFlight } = await apply([aRule({ workflowIds: [id] })]);
    expect(stepsInFlight).toBe(1);
    await expectStill(id);
    expect(names(id, "end")).toEqual(["step-1", "step-2"]);
    await release(id);
    expect(names(id, "start")).toEqual([1, 2, 3, 4, 5].map((n) => `step-${n}`));
  });

  test("a new start takes no first step, and the hub hears of it", async () => {
    await apply([newOnes({ types: ["Steps"] })]);
    const held = new Set<string>();
    const off = server.gates.onHeld((_, ids) => {
      for (const one of ids) held.add(one);
    });
    const id = await engine.start("Steps/run", { count: 2, ms: 20 });
    await expectStill(id);
    expect(names(id, "start")).toEqual([]);
    expect([...held]).toEqual([id]);
    off();
    await release(id);
    expect(names(id, "start")).toEqual(["step-1", "step-2"]);
  });

  test("another type runs on", async () => {
    await apply([newOnes({ types: ["Steps"] })]);
    const id = await engine.start("Queue/free/work", { count: 2, ms: 20 });
    await engine.untilStatus(id, "completed");
  });

  test.each(["Sleeper/run", "SuspendedSleeper/run"])("%s: a timer that is due starts no step", async (target) => {
    const id = await engine.start(target, { ms: 600 });
    await engine.steps.untilStep(id, "step-1", "end");
    await apply([aRule({ workflowIds: [id] })]);
    await expectStill(id);
    await release(id);
    expect(names(id, "start")).toEqual(["step-1", "step-2"]);
  });

  test.each(["Awaiter/run", "SuspendedAwaiter/run"])("%s: a signal that arrives starts no step", async (target) => {
    const id = await engine.start(target);
    await engine.steps.untilAwakeable(id);
    await apply([aRule({ workflowIds: [id] })]);
    await engine.resolveAwakeable(id);
    await expectStill(id);
    await release(id);
    expect(names(id, "start")).toEqual(["step-1", "step-2"]);
  });

  test("scheduled: comes up, and takes no first step", async () => {
    const id = await engine.start("Steps/run", { count: 2, ms: 20 }, { delayMs: 500 });
    await apply([aRule({ workflowIds: [id] })]);
    await expectStill(id);
    expect(names(id, "start")).toEqual([]);
    await release(id);
  });

  test("queued: comes up when the one before is done, and takes no first step", async () => {
    const head = await engine.start("Queue/gated/work", { count: 2, ms: 150 });
    const id = await engine.start("Queue/gated/work", { count: 2, ms: 20 });
    await apply([aRule({ workflowIds: [id] })]);
    await engine.untilStatus(head, "completed");
    await expectStill(id);
    expect(names(id, "start")).toEqual([]);
    await release(id);
  });

  test("a child takes no step while its type is held; parent and child go on after release", async () => {
    await apply([newOnes({ types: ["Steps"] })]);
    const id = await engine.start("Parent/run", { count: 2, ms: 20 });
    await engine.steps.untilStep(id, "step-1", "end");
    const childOf = async () => {
      const [row] = await engine.query<{ id: string }>(
        `SELECT id FROM sys_invocation_status WHERE invoked_by_id = '${id}'`,
      );
      return row?.id;
    };
    let child: string | undefined;
    while (child === undefined) child = await childOf();
    await expectStill(child);
    expect(names(child, "start")).toEqual([]);
    await release(child);
    await engine.untilStatus(id, "completed");
  });

  test("backing off: no further attempt; it has as many attempts after release as it would have had", async () => {
    const id = await engine.start("Flaky/run", { failures: 3 });
    await engine.steps.untilStep(id, "step-2", "fail");
    await apply([aRule({ workflowIds: [id] })]);
    await expectStill(id);
    await release(id);
    expect(names(id, "end")).toEqual(["step-1", "step-2", "step-3"]);
    expect(names(id, "start")).toHaveLength(6);
  });

  test("resumed by another tool, again and again: paused anew each time, no step starts, no attempt is used up", async () => {
    const id = await engine.start("Steps/run", { count: 4, ms: 100 });
    await engine.steps.untilStep(id, "step-1");
    await apply([aRule({ workflowIds: [id] })]);
    await engine.untilStatus(id, "paused");
    const since = Date.now();
    const held: string[] = [];
    const off = server.gates.onHeld((_, ids) => held.push(...ids));
    for (let i = 1; i <= 8; i++) {
      await resume(id);
      const seen = held.length;
      await engine.untilStatus(id, "paused");
      while (held.length === seen) await delay(10);
    }
    off();
    await expectStill(id);
    expect(engine.steps.startedSince(id, since)).toBe(0);
    await release(id);
    expect(names(id, "start")).toEqual([1, 2, 3, 4].map((n) => `step-${n}`));
    const [row] = await engine.query(`SELECT completion_result FROM sys_invocation WHERE id = '${id}'`);
    expect(row).toMatchObject({ completion_result: "success" });
  });

  test("a step beside a held one finishes first, and its result is kept", async () => {
    const id = await engine.start("Racing/run", { ms: 600 });
    await engine.steps.until("two in flight", () => engine.steps.inFlight(id).length === 2);
    await apply([aRule({ workflowIds: [id] })]);
    await engine.steps.untilStep(id, "quick", "end");
    await expectStill(id);
    expect(names(id, "start").toSorted()).toEqual(["quick", "slow"]);
    await release(id);
    expect(names(id, "start").toSorted()).toEqual(["last", "next", "quick", "slow"]);
  });

  test("released while a step beside it still runs: the held step goes on, and nothing was paused", async () => {
    const id = await engine.start("Racing/run", { ms: 600 });
    await engine.steps.until("two in flight", () => engine.steps.inFlight(id).length === 2);
    await apply([aRule({ workflowIds: [id] })]);
    await engine.steps.untilStep(id, "quick", "end");
    await delay(100);
    await apply([]);
    await engine.untilStatus(id, "completed");
    expect(names(id, "start").toSorted()).toEqual(["last", "next", "quick", "slow"]);
    const events = await engine.query(`SELECT * FROM sys_journal_events WHERE id = '${id}' AND event_type = 'Paused'`);
    expect(events).toEqual([]);
  });

  test("four parallel steps all finish, then it stands", async () => {
    const id = await engine.start("Parallel/run", { ms: 100 });
    await engine.steps.until("four in flight", () => engine.steps.inFlight(id).length === 4);
    expect((await apply([aRule({ workflowIds: [id] })])).stepsInFlight).toBe(4);
    await expectStill(id);
    await release(id);
    expect(names(id, "start")).toHaveLength(5);
  });

  test("the engine's record of the pause says that a brake made it, and which", async () => {
    await apply([newOnes({ types: ["Steps"], brakeId: "br_42" })]);
    const id = await engine.start("Steps/run", { count: 1, ms: 5 });
    await engine.untilStatus(id, "paused");
    const [event] = await engine.query<{ event_json: string }>(
      `SELECT event_json FROM sys_journal_events WHERE id = '${id}' AND event_type = 'Paused'`,
    );
    expect(JSON.parse(event?.event_json ?? "{}").last_failure).toMatchObject({
      error_message: "held by Mission Control: brake br_42",
      error_stacktrace: "PauseError: held by Mission Control: brake br_42",
      related_command_name: "step-1",
    });
    await release(id);
  });

  // 200 keep this process busy; with 20, a confirmation is quick, and one that came 10 ms too early is seen.
  test.each([20, 200])(
    "no step starts after the confirmation, of %i workflows at work while new ones are started",
    async (count) => {
      const ids = await Promise.all(
        Array.from({ length: count }, () => engine.start("Steps/run", { count: 500, ms: 10 })),
      );
      await engine.steps.until("all of them at work", () => ids.every((id) => engine.steps.of(id).length > 0));
      const starting = Promise.all(
        Array.from({ length: count / 4 }, () => engine.start("Steps/run", { count: 3, ms: 10 })),
      );
      const before = engine.steps.events.length;
      const { appliedTime = 0 } = await apply([newOnes({ types: ["Steps"] })]);
      const confirmed = engine.steps.events.length;
      const late = await starting;
      for (const id of ids) await engine.untilStatus(id, "paused");
      for (const id of late) await engine.untilStatus(id, "paused", "completed");
      await delay(lookMs);
      const starts = engine.steps.events
        .map(({ event, time }, i) => ({ event, time, i }))
        .filter(({ event, i }) => event === "start" && i >= before);
      // Told by the order of the events, and by the hub's clock, which is this process's.
      expect(starts.filter(({ i, time }) => i >= confirmed || time > appliedTime)).toEqual([]);
      // Cancelled, so that the engine is free for the next test.
      await apply([]);
      for (const id of [...ids, ...late]) await engine.admin("PATCH", `/invocations/${id}/kill`);
    },
    60_000,
  );
});
