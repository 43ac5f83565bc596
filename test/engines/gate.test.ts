import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EngineWorkflow, WorkflowQuery } from "../../src/engines/engine.ts";
import type { GateEvent, StepFacts } from "../../src/engines/gate/events.ts";
import { matches } from "../../src/engines/gate/query.ts";
import type { RunLimits } from "../../src/engines/gate/runs.ts";
import { GateEngine } from "../../src/engines/gate.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";

let dir: string;
let store: Store;
let engine: GateEngine;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "gate-engine-"));
  await start();
});

afterEach(async () => {
  await stop();
  rmSync(dir, { recursive: true });
});

async function start(limits: Partial<RunLimits> = {}): Promise<void> {
  store = openSqlite(join(dir, "ledger.db"));
  engine = await GateEngine.open("gated", store, createLog("silent"), limits);
}

async function stop(): Promise<void> {
  await engine.close();
  await store.close();
}

async function restart(limits: Partial<RunLimits> = {}): Promise<void> {
  await stop();
  await start(limits);
}

const staying = new AbortController().signal;
const step = (id: string): StepFacts => ({ id, name: `name of ${id}`, agent: "support", riskLevel: "HIGH" });
const started = (id: string, labels = {}): GateEvent => ({
  kind: "runStarted",
  time: Date.now(),
  run: { id, type: "Refund", name: `refund ${id}`, labels },
});
const begun = (runId: string, stepId: string): GateEvent => ({
  kind: "stepStarted",
  time: Date.now(),
  runId,
  step: step(stepId),
});
const done = (runId: string, stepId: string): GateEvent => ({
  kind: "stepEnded",
  time: Date.now(),
  runId,
  stepId,
  outcome: "succeeded",
  errorMessage: "",
});
const ended = (runId: string): GateEvent => ({
  kind: "runEnded",
  time: Date.now(),
  runId,
  outcome: "completed",
  errorMessage: "",
});

async function shown(id: string): Promise<EngineWorkflow | undefined> {
  return (await engine.get([id]))[0];
}

async function stepsOf(id: string) {
  return (await engine.observe([id])).get(id)?.steps.map(({ name, endTime }) => [name, endTime !== undefined]);
}

test("what was reported is there, also after a restart: workflow, steps, outcomes, trace", async () => {
  await engine.runs.report([started("a", { team: "payments" }), begun("a", "1"), done("a", "1"), begun("a", "2")]);
  await engine.runs.report([done("a", "2"), ended("a")]);
  await restart();
  expect(await shown("a")).toMatchObject({ status: "completed", type: "Refund", labels: { team: "payments" } });
  expect(await stepsOf("a")).toEqual([
    ["name of 1", true],
    ["name of 2", true],
  ]);
  expect((await engine.trace("a"))?.map(({ kind, outcome }) => [kind, outcome])).toEqual([
    ["started", "none"],
    ["step", "succeeded"],
    ["step", "succeeded"],
    ["ended", "succeeded"],
  ]);
  expect(await engine.count({})).toMatchObject({ completed: 1, running: 0 });
});

test("a report that comes twice counts once, also when what it tells of has ended", async () => {
  const all = [started("a"), begun("a", "1"), done("a", "1")];
  await engine.runs.report([...all, ...all]);
  expect(await stepsOf("a")).toEqual([["name of 1", true]]);
  await engine.runs.report([ended("a"), ...all]);
  expect(await shown("a")).toMatchObject({ status: "completed" });
});

test("held, started, all of it again: a step that runs does not stand, and ends", async () => {
  await engine.runs.report([started("a")]);
  await engine.hold(["a"]);
  const all: GateEvent[] = [{ kind: "stepHeld", time: Date.now(), runId: "a", step: step("1") }, begun("a", "1")];
  await engine.runs.report([...all, ...all]);
  expect(await shown("a")).toMatchObject({ status: "running", phase: "in a step" });
  await engine.runs.report([done("a", "1")]);
  expect(await stepsOf("a")).toEqual([["name of 1", true]]);
});

test("who is held is neither let go nor given up by its workflow's end, which comes true when all who wait have left", async () => {
  await engine.runs.ask({ run: { id: "a" } }, staying);
  engine.runs.holdBy(() => true);
  await engine.hold(["a"]);
  const leaving = [new AbortController(), new AbortController()];
  const held = leaving.map(({ signal }, i) => engine.runs.ask({ run: { id: "a" }, step: step(String(i)) }, signal));
  await engine.runs.report([ended("a")]);
  for (const [i, one] of held.entries()) {
    expect(await shown("a")).toMatchObject({
      status: "paused",
      phase: expect.stringContaining("told that it has ended"),
    });
    leaving[i]?.abort(new Error("gone"));
    await expect(one).rejects.toThrow("gone");
  }
  expect(await shown("a")).toMatchObject({ status: "completed" });
  expect(await stepsOf("a")).toEqual([]);
  expect(engine.runs.waiting).toBe(0);
  const again = engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await vi.waitFor(() => expect(engine.runs.waiting).toBe(1));
  await engine.runs.report([ended("a")]);
  engine.runs.holdBy(() => false);
  await again;
  // It goes on: what ended was an attempt before.
  expect(await shown("a")).toMatchObject({ status: "running", phase: "in a step" });
});

test("a workflow that asks whether it may begin is in no step: what was in flight was of an attempt before", async () => {
  await engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await engine.runs.ask({ run: { id: "a" }, step: step("2") }, staying);
  await engine.runs.ask({ run: { id: "a" } }, staying);
  expect(await shown("a")).toMatchObject({ status: "running", phase: "between steps" });
  expect(await stepsOf("a")).toEqual([
    ["name of 1", true],
    ["name of 2", true],
  ]);
});

test("the step in flight at a start is over with the next one only where no two ever ran at the same time", async () => {
  const past = (runId: string, stepId: string, from: number, to?: number): GateEvent[] => [
    { kind: "stepStarted", time: from, runId, step: step(stepId) },
    ...(to === undefined ? [] : [{ ...done(runId, stepId), time: to }]),
  ];
  await engine.runs.report([
    ...past("one by one", "1", 1, 2),
    ...past("one by one", "2", 2),
    ...past("once parallel", "1", 1, 3),
    ...past("once parallel", "2", 2, 4),
    ...past("once parallel", "3", 5),
  ]);
  await restart();
  for (const id of ["one by one", "once parallel"]) await engine.runs.ask({ run: { id }, step: step("next") }, staying);
  expect((await stepsOf("one by one"))?.map(([, isOver]) => isOver)).toEqual([true, true, false]);
  expect((await stepsOf("once parallel"))?.map(([, isOver]) => isOver)).toEqual([true, true, false, false]);
  // While we are there, a step that has not ended runs.
  await engine.runs.ask({ run: { id: "one by one" }, step: step("another") }, staying);
  expect((await stepsOf("one by one"))?.map(([, isOver]) => isOver)).toEqual([true, true, false, false]);
});

test("what is held stands when it asks, takes no step, and takes it once when it is let go", async () => {
  await engine.runs.ask({ run: { id: "a", type: "Refund" } }, staying);
  expect(await engine.hold(["a"])).toEqual(new Map([["a", { kind: "accepted", time: expect.any(Number) }]]));
  // Between two steps nobody knows that it stands.
  expect((await shown("a"))?.status).toBe("running");
  const asked = vi.fn();
  const taken = engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying).then(asked);
  await vi.waitFor(async () => expect((await engine.statuses(["a"])).get("a")).toBe("paused"));
  expect(await engine.pausedByGate(["a", "b"])).toEqual(new Set(["a"]));
  expect(await stepsOf("a")).toEqual([]);
  expect(asked).not.toHaveBeenCalled();
  expect((await engine.release(["a"])).get("a")).toEqual({ kind: "released" });
  await taken;
  expect(await stepsOf("a")).toEqual([["name of 1", false]]);
  expect((await shown("a"))?.status).toBe("running");
});

test("it does not stand while another of its steps is in flight", async () => {
  await engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await engine.hold(["a"]);
  const taken = engine.runs.ask({ run: { id: "a" }, step: step("2") }, staying);
  expect((await engine.statuses(["a"])).get("a")).toBe("running");
  await engine.runs.report([done("a", "1")]);
  expect((await engine.statuses(["a"])).get("a")).toBe("paused");
  await engine.release(["a"]);
  await taken;
});

test("a step that is asked for twice is one step", async () => {
  await engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await engine.hold(["a"]);
  const again = [1, 2].map(() => engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying));
  await vi.waitFor(async () => expect((await engine.statuses(["a"])).get("a")).toBe("paused"));
  await engine.release(["a"]);
  await Promise.all(again);
  expect(await stepsOf("a")).toEqual([["name of 1", false]]);
});

test("whoever leaves while it waits is shown as silent, and as standing again when it comes back", async () => {
  await engine.runs.ask({ run: { id: "a" } }, staying);
  await engine.hold(["a"]);
  const leaving = new AbortController();
  const asked = engine.runs.ask({ run: { id: "a" }, step: step("1") }, leaving.signal);
  leaving.abort(new Error("gone"));
  await expect(asked).rejects.toThrow("gone");
  expect(await shown("a")).toMatchObject({ status: "silent", phase: expect.stringContaining("has left") });
  const back = engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await vi.waitFor(async () => expect((await shown("a"))?.status).toBe("paused"));
  await engine.release(["a"]);
  await back;
});

test("after a restart what was held is still held, and not shown as standing before it asks again", async () => {
  await engine.runs.ask({ run: { id: "a" } }, staying);
  await engine.hold(["a"]);
  const leaving = new AbortController();
  const asked = engine.runs.ask({ run: { id: "a" }, step: step("1") }, leaving.signal).catch(() => undefined);
  await vi.waitFor(async () => expect((await shown("a"))?.status).toBe("paused"));
  await restart();
  expect(engine.runs.isHeld("a")).toBe(true);
  expect((await shown("a"))?.status).toBe("silent");
  const again = engine.runs.ask({ run: { id: "a" }, step: step("1") }, staying);
  await vi.waitFor(async () => expect((await shown("a"))?.status).toBe("paused"));
  await engine.release(["a"]);
  await again;
  leaving.abort();
  await asked;
});

test("brakes decide at the moment of the question: what none has caught yet is held, and let go with the brake", async () => {
  let braked = true;
  engine.runs.holdBy(({ labels }) => braked && labels.risk === "HIGH");
  await engine.runs.ask({ run: { id: "a", labels: { risk: "LOW" } }, step: step("1") }, staying);
  const held = engine.runs.ask({ run: { id: "a", labels: { risk: "HIGH" } }, step: step("2") }, staying);
  expect(engine.runs.isHeld("a")).toBe(true);
  expect(engine.runs.waiting).toBe(1);
  braked = false;
  engine.runs.reconsider();
  await held;
  expect(engine.runs.waiting).toBe(0);
});

test("a runtime that holds by itself says so: then it stands", async () => {
  await engine.runs.report([started("a")]);
  await engine.hold(["a"]);
  await engine.runs.report([{ kind: "stepHeld", time: Date.now(), runId: "a", step: step("1") }]);
  expect((await shown("a"))?.status).toBe("paused");
  await engine.release(["a"]);
  await engine.runs.report([begun("a", "1")]);
  expect((await shown("a"))?.status).toBe("running");
});

test("what is not heard of is silent, which is a change; and is forgotten in the end", async () => {
  await engine.runs.report([started("a")]);
  const since = new Date();
  await restart({ silentAfterMs: 50 });
  await vi.waitFor(async () => expect((await shown("a"))?.status).toBe("silent"));
  expect((await engine.changedSince(since, 10)).map(({ id, status }) => [id, status])).toEqual([["a", "silent"]]);
  expect(await engine.count({})).toMatchObject({ silent: 1 });
  engine.runs.seen(["a"]);
  expect((await shown("a"))?.status).toBe("running");
  await restart({ silentAfterMs: 50, retentionMs: 100 });
  await vi.waitFor(() => expect(engine.isId("a")).toBe(false));
  expect(await shown("a")).toBeUndefined();
});

test("what waits at the gate is there, however long; of two steps that wait the one that leaves makes nothing silent", async () => {
  await restart({ silentAfterMs: 50 });
  await engine.runs.report([started("a"), started("b")]);
  await engine.hold(["a"]);
  const [leaving, rest] = [new AbortController(), new AbortController()];
  const waits = [leaving, rest].map(({ signal }, i) =>
    engine.runs.ask({ run: { id: "a" }, step: step(String(i)) }, signal),
  );
  await vi.waitFor(async () => expect((await shown("b"))?.status).toBe("silent"));
  expect((await shown("a"))?.status).toBe("paused");
  leaving.abort();
  await expect(waits[0]).rejects.toThrow();
  expect((await shown("a"))?.status).toBe("paused");
  rest.abort();
  await expect(waits[1]).rejects.toThrow();
  expect((await shown("a"))?.status).toBe("silent");
});

test("what has ended is forgotten after its time, or where there is too much of it, with its steps", async () => {
  await engine.runs.report(["a", "b", "c"].flatMap((id) => [started(id), begun(id, "1"), ended(id)]));
  await restart({ silentAfterMs: 100, endedRuns: 1 });
  await vi.waitFor(async () => expect(await engine.list({ limit: 10 })).toHaveLength(1));
  expect(await store.gateRuns.steps("gated", ["a", "b", "c"])).toHaveLength(1);
});

test("open workflows and waiting steps are bounded, with a reason that says so", async () => {
  await restart({ openRuns: 2, waiting: 1 });
  await engine.runs.report([started("a"), started("b")]);
  await expect(engine.runs.report([started("c")])).rejects.toMatchObject({ reason: "TOO_MANY_WORKFLOWS" });
  await engine.hold(["a", "b"]);
  const leaving = new AbortController();
  const waits = engine.runs.ask({ run: { id: "a" }, step: step("1") }, leaving.signal);
  await expect(engine.runs.ask({ run: { id: "b" }, step: step("1") }, staying)).rejects.toMatchObject({
    reason: "TOO_MANY_HELD_STEPS",
  });
  leaving.abort(new Error("gone"));
  await expect(waits).rejects.toThrow("gone");
});

test("of a workflow 10,000 steps are kept, and those beyond are still seen to run: it does not stand in one", async () => {
  const all = Array.from({ length: 10_001 }, (_, n) => [begun("a", `${n}`), done("a", `${n}`)]).flat();
  await engine.runs.report(all.slice(0, -1));
  await engine.hold(["a"]);
  const waits: GateEvent = { kind: "stepHeld", time: Date.now(), runId: "a", step: step("next") };
  await engine.runs.report([waits]);
  expect(await shown("a")).toMatchObject({ status: "running", phase: "in a step" });
  await engine.runs.report([all.at(-1) as GateEvent]);
  expect(await shown("a")).toMatchObject({ status: "paused" });
  expect(await stepsOf("a")).toHaveLength(10_000);
});

test("of a workflow 64 labels are kept, those that were told first, with what was told of them last", async () => {
  const labels = (from: number, to: number, value: string) =>
    Object.fromEntries(Array.from({ length: to - from }, (_, n) => [`l${from + n}`, value]));
  await engine.runs.report([started("a", labels(0, 60, "old"))]);
  await engine.runs.report([started("a", labels(50, 70, "new"))]);
  expect((await shown("a"))?.labels).toEqual({ ...labels(0, 50, "old"), ...labels(50, 64, "new") });
});

test("the store finds what the memory finds, whatever is asked", async () => {
  const texts = fc.constantFrom("", "a", "ab", "b'\"%_", "ä\u{1f600}", "__proto__");
  const queries = fc.record<WorkflowQuery>(
    {
      statuses: fc.subarray(["running", "completed", "silent"] as const),
      types: fc.array(texts, { maxLength: 2 }),
      labels: fc.dictionary(texts, texts, { maxKeys: 2 }),
      ids: fc.array(texts, { maxLength: 3 }),
      idPrefix: texts,
      namePrefix: texts,
      createdAfter: fc.integer({ min: 0, max: 4 }).map((ms) => new Date(ms)),
      createdBefore: fc.integer({ min: 0, max: 4 }).map((ms) => new Date(ms)),
      within: fc.array(fc.record({ types: fc.array(texts, { maxLength: 2 }) }), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  const runs = fc.uniqueArray(
    fc.record({
      id: texts.filter((id) => id !== ""),
      type: texts,
      name: texts,
      labels: fc.dictionary(texts, texts, { maxKeys: 2 }),
      time: fc.integer({ min: 0, max: 4 }),
      isOver: fc.boolean(),
    }),
    { selector: ({ id }) => id, minLength: 4 },
  );
  const [given = []] = fc.sample(runs, 1);
  for (const { time, isOver, ...run } of given) {
    await engine.runs.report([{ kind: "runStarted", time, run }, ...(isOver ? [ended(run.id)] : [])]);
  }
  const all = await engine.list({ limit: 100 });
  expect(all).toHaveLength(given.length);
  await fc.assert(
    fc.asyncProperty(queries, async (query) => {
      const found = await engine.list({ ...query, limit: 100 });
      expect(found).toEqual(all.filter((workflow) => matches(query, workflow)));
    }),
    { numRuns: 300 },
  );
});

test("what cannot be written is told of as it is: shown, listed, counted, observed, traced; and kept later", async () => {
  const { commit } = store;
  await engine.runs.report([started("old"), ended("old"), started("a"), begun("a", "1")]);
  await engine.hold(["a"]);
  await engine.runs.report([done("a", "1"), { kind: "stepHeld", time: Date.now(), runId: "a", step: step("2") }]);
  expect((await shown("a"))?.status).toBe("paused");
  const since = new Date();
  store.commit = () => Promise.reject(new Error("the disk is full"));
  await engine.release(["a"]);
  const told = engine.runs.report([begun("a", "2"), started("new"), begun("new", "1"), ended("new")]);
  await expect(told).rejects.toThrow("the disk is full");
  expect(await shown("a")).toMatchObject({ status: "running", phase: "in a step" });
  expect(await shown("new")).toMatchObject({ status: "completed" });
  expect(await stepsOf("a")).toEqual([
    ["name of 1", true],
    ["name of 2", false],
  ]);
  expect((await engine.trace("new"))?.map(({ kind }) => kind)).toEqual(["started", "step", "ended"]);
  expect(await engine.count({})).toMatchObject({ paused: 0, running: 1, completed: 2 });
  expect(await engine.list({ statuses: ["paused"], limit: 10 })).toEqual([]);
  const all = await engine.list({ limit: 10 });
  expect(all.map(({ id }) => id).sort()).toEqual(["a", "new", "old"]);
  const [newest] = await engine.list({ limit: 1 });
  expect([newest, ...(await engine.list({ limit: 10, after: newest }))]).toEqual(all);
  expect((await engine.changedSince(since, 10)).map(({ id }) => id)).toEqual(expect.arrayContaining(["a", "new"]));
  store.commit = commit;
  await engine.runs.written();
  expect(await engine.list({ limit: 10 })).toEqual(all);
  await restart();
  expect(await stepsOf("a")).toHaveLength(2);
});

test("of what ends while the disk refuses no more than so much is kept, the latest; what is forgotten is not shown as it was", async () => {
  await restart({ unwrittenEnded: 2 });
  await engine.runs.report([started("open before"), begun("open before", "1"), started("goes on")]);
  const { commit } = store;
  store.commit = () => Promise.reject(new Error("the disk is full"));
  await expect(engine.runs.report([started("first"), ended("first")])).rejects.toThrow("the disk is full");
  engine.runs.report([ended("open before")]).catch(() => undefined);
  for (const id of ["a", "b"]) {
    await expect(engine.runs.report([started(id), begun(id, "1"), ended(id)])).rejects.toThrow("the disk is full");
  }
  expect(engine.runs.fault?.message).toBe("the disk is full; 2 workflows that ended meanwhile are forgotten");
  const ids = async () => (await engine.list({ limit: 10 })).map(({ id, status }) => `${id} ${status}`).sort();
  const left = ["a completed", "b completed", "goes on running"];
  expect(await ids()).toEqual(left);
  expect(await engine.count({})).toMatchObject({ running: 1, completed: 2 });
  expect(engine.isId("first")).toBe(false);
  store.commit = commit;
  await engine.runs.written();
  expect(engine.runs.fault).toBeUndefined();
  expect(await ids()).toEqual(left);
  await restart();
  expect(await ids()).toEqual(left);
  expect(engine.isId("open before")).toBe(false);
  expect(await stepsOf("a")).toEqual([["name of 1", true]]);
});

test("5,000 that wait at once are let go at once, and are all kept", async () => {
  engine.runs.holdBy(() => true);
  const ids = Array.from({ length: 5_000 }, (_, n) => `run-${n}`);
  const asked = ids.map((id) => engine.runs.ask({ run: { id, type: "Refund" }, step: step("1") }, staying));
  await vi.waitFor(() => expect(engine.runs.waiting).toBe(5_000));
  engine.runs.holdBy(() => false);
  await Promise.all(asked);
  expect(engine.runs.waiting).toBe(0);
  expect(await engine.count({})).toMatchObject({ running: 5_000 });
  expect((await engine.observe(ids)).size).toBe(5_000);
});

test("a signal that is aborted already ends every question", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(engine.list({ limit: 1 }, signal)).rejects.toThrow("enough");
  await expect(engine.runs.ask({ run: { id: "a" } }, signal)).rejects.toThrow("enough");
});

test("the inputs of one workflow's steps are kept up to 1 MiB in all, also over a restart; what is beyond is said to be left out", async () => {
  const inputs = JSON.stringify("x".repeat(60_000));
  const steps = (from: number, to: number): GateEvent[] =>
    Array.from({ length: to - from }, (_, n) => ({
      kind: "stepStarted",
      time: Date.now(),
      runId: "a",
      step: { ...step(String(from + n)), inputs },
    }));
  await engine.runs.report([started("a"), ...steps(0, 10)]);
  await restart();
  await engine.runs.report(steps(10, 20));
  const told = (await engine.trace("a"))?.filter(({ kind }) => kind === "step").map((one) => one.inputs);
  expect(told).toHaveLength(20);
  expect(told?.slice(0, 17)).toEqual(Array.from({ length: 17 }, () => inputs));
  expect(told?.slice(17)).toEqual(Array.from({ length: 3 }, () => '"(left out: this workflow has too much of it)"'));
});
