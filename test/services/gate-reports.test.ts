import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  type Event,
  ReportSchema,
  StepStartedSchema,
  WorkflowEndedSchema,
  WorkflowEnded_Outcome as WorkflowOutcome,
  WorkflowStartedSchema,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { createGate, type Gate, type GateOptions } from "../../src/gate/index.ts";
import { createLog } from "../../src/log.ts";
import { GateReports } from "../../src/services/gate-reports.ts";
import { until } from "../fixture/dev-process.ts";
import { aRule, newOnes } from "../gate/rule.ts";
import { type GateServer, startGateServer } from "../gate/server.ts";

let server: GateServer;
const gates: Gate[] = [];
beforeEach(async () => {
  server = await startGateServer();
});
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close();
  await server.stop();
});

async function open(options: Partial<GateOptions> = {}): Promise<Gate> {
  const token = await server.token(undefined, "agents");
  const limits = { firstDelayMs: 10, longestDelayMs: 50 };
  const gate = createGate({ url: server.url, token, engine: "agents", name: "g", limits, ...options });
  gates.push(gate);
  await gate.ready();
  return gate;
}

const acknowledged = (gate: Gate) => until("the reports to arrive", () => gate.state().unacknowledgedReports === 0);
const status = async (id: string) => (await server.agents.get([id]))[0]?.status;
const becomes = (id: string, expected: string) =>
  until(`${id} to be ${expected}`, async () => (await status(id)) === expected);
/** Its steps by the engine, as "name outcome". */
const steps = async (id: string) =>
  ((await server.agents.trace(id)) ?? [])
    .filter(({ kind }) => kind === "step")
    .map((one) => `${one.name} ${one.outcome}`);
const rules = async (...all: ReturnType<typeof aRule>[]) => {
  const revision = server.gates.setRules("agents", all);
  const [confirmed] = await server.gates.untilApplied("agents", revision, 5_000);
  expect(confirmed?.appliedTime).toBeDefined();
};

test("a workflow is known with its type, name, labels, parent, steps and end, once it is acknowledged", async () => {
  const gate = await open();
  const about = { type: "Refunds", id: "w1", name: "refunds of May", labels: { team: "payments" }, parentId: "w0" };
  const work = gate.workflow(about, async () => {
    await gate.step("read", () => 3);
    await gate.wrap(() => Promise.reject(new Error("no funds")), { name: "pay" })();
  });
  await expect(work).rejects.toThrow("no funds");
  await acknowledged(gate);
  const [workflow] = await server.agents.get(["w1"]);
  expect(workflow).toMatchObject({
    type: "Refunds",
    name: "refunds of May",
    labels: { team: "payments" },
    parentId: "w0",
    status: "failed",
    errorMessage: "Error: no funds",
  });
  expect(await steps("w1")).toEqual(["read succeeded", "pay failed"]);
});

test("held by a label that the gate itself knows: paused once the engine holds it too, and goes on after release", async () => {
  const gate = await open();
  await rules(newOnes({ labels: { team: "payments" } }));
  const ran: string[] = [];
  const held = gate.workflow({ type: "T", id: "held", labels: { team: "payments" } }, (run) =>
    run.step("pay", () => ran.push("held")),
  );
  await gate.workflow({ type: "T", id: "free" }, (run) => run.step("pay", () => ran.push("free")));
  await acknowledged(gate);
  await server.agents.hold(["held"]);
  await becomes("held", "paused");
  expect(ran).toEqual(["free"]);
  await server.agents.release(["held"]);
  await rules();
  await held;
  await becomes("held", "completed");
  expect(await steps("held")).toEqual(["pay succeeded"]);
});

test("a workflow that gives up a held step stands no more: it goes on, and may do what it likes but take a step", async () => {
  const gate = await open();
  await rules(newOnes());
  const run = gate.start({ type: "T", id: "w" });
  const leave = new AbortController();
  const [first, second] = [run.step("a", () => {}, { signal: leave.signal }), run.step("b", () => {})];
  await acknowledged(gate);
  await server.agents.hold(["w"]);
  await becomes("w", "paused");
  leave.abort();
  await expect(first).rejects.toThrow();
  await acknowledged(gate);
  // The other one stands still.
  expect(await status("w")).toBe("paused");
  const alone = new AbortController();
  const other = gate.start({ type: "T", id: "alone" });
  const only = other.step("a", () => {}, { signal: alone.signal });
  await acknowledged(gate);
  await server.agents.hold(["alone"]);
  await becomes("alone", "paused");
  alone.abort();
  await expect(only).rejects.toThrow();
  await acknowledged(gate);
  expect(await status("alone")).toBe("running");
  await rules();
  await second;
});

test("a gate that is closed before its first brakes have come reports all the same", async () => {
  const token = await server.token(undefined, "agents");
  const gate = createGate({ url: server.url, token, engine: "agents", name: "brief" });
  gate.start({ type: "T", id: "w" }).end();
  await gate.close();
  expect(gate.state().unacknowledgedReports).toBe(0);
  expect(await status("w")).toBe("completed");
});

test("what is reported without a connection arrives, each step once, and what is open is told anew", async () => {
  const gate = await open();
  const run = gate.start({ type: "T", id: "w" });
  await run.step("before", () => {});
  await rules(aRule({ workflowIds: ["stands"] }));
  const stands = gate.start({ type: "T", id: "stands" }).step("pay", () => {});
  await acknowledged(gate);
  await server.agents.hold(["stands"]);
  await becomes("stands", "paused");
  await server.close();
  for (const name of ["without 1", "without 2"]) await run.step(name, () => {});
  await server.start([aRule({ workflowIds: ["stands"] })]);
  await acknowledged(gate);
  expect(await steps("w")).toEqual(["before succeeded", "without 1 succeeded", "without 2 succeeded"]);
  // The server was started anew, and only its gate knows that it waits still.
  await becomes("stands", "paused");
  await server.agents.release(["stands"]);
  await rules();
  await stands;
  run.end();
  await becomes("w", "completed");
  expect(await steps("stands")).toEqual(["pay succeeded"]);
});

test("a workflow whose gate has left is silent, until another process takes it over", async () => {
  const first = await open({ name: "first" });
  first.start({ type: "T", id: "w" });
  await becomes("w", "running");
  await first.close();
  await becomes("w", "silent");
  const second = await open({ name: "second" });
  await second.workflow({ type: "T", id: "w" }, (run) => run.step("pay", () => {}));
  await becomes("w", "completed");
  expect(await steps("w")).toEqual(["pay succeeded"]);
});

test("a workflow that another gate has taken over meanwhile is not silent when the first one leaves", async () => {
  const [first, second] = [await open({ name: "first" }), await open({ name: "second" })];
  first.start({ type: "T", id: "w" });
  await acknowledged(first);
  second.start({ type: "T", id: "w" });
  await acknowledged(second);
  await first.close();
  expect(await status("w")).toBe("running");
});

test("a gate vouches no more for a workflow that another one has taken over", async () => {
  const door = server.agents.runs;
  const reports = new GateReports(door, createLog("silent"));
  const [first, second] = [reports.open(() => {}), reports.open(() => {})];
  const value = create(WorkflowStartedSchema, { type: "T" });
  const event = { case: "workflowStarted", value } as const;
  for (const reporting of [first, second]) {
    reporting.take(create(ReportSchema, { firstSequence: 1n, events: [{ workflowId: "w", event }] }));
    await reporting.settled();
  }
  second.end();
  await becomes("w", "silent");
  first.seen();
  expect(await status("w")).toBe("silent");
});

test("two thousand steps at once are all acknowledged", async () => {
  const gate = await open();
  const runs = Array.from({ length: 100 }, (_, i) => gate.start({ type: "T", id: `w${i}` }));
  await Promise.all(runs.flatMap((run) => Array.from({ length: 20 }, (_, i) => run.step(`step ${i}`, () => {}))));
  await acknowledged(gate);
  expect((await steps("w99")).length).toBe(20);
});

test("a gate vouches for nothing that has ended, whatever is told of it afterwards, or by whom", async () => {
  const door = server.agents.runs;
  const reports = new GateReports(door, createLog("silent"));
  const [first, second] = [reports.open(() => {}), reports.open(() => {})];
  const report = (...events: Event["event"][]) =>
    create(ReportSchema, { firstSequence: 1n, events: events.map((event) => ({ workflowId: "w", event })) });
  const started = { case: "workflowStarted", value: create(WorkflowStartedSchema, { type: "T" }) } as const;
  const outcome = WorkflowOutcome.COMPLETED;
  const ended = { case: "workflowEnded", value: create(WorkflowEndedSchema, { outcome }) } as const;
  const late = { case: "stepStarted", value: create(StepStartedSchema, { stepId: "1", name: "pay" }) } as const;
  first.take(report(started));
  const seen = vi.spyOn(door, "seen");
  first.seen();
  expect(seen).toHaveBeenLastCalledWith(["w"]);
  second.take(report(ended, late));
  for (const reporting of [first, second]) {
    reporting.seen();
    expect(seen).toHaveBeenLastCalledWith([]);
    await reporting.settled();
  }
});
