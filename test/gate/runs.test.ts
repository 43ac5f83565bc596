import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RuleSchema } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Orders } from "../../src/gate/orders.ts";
import { Reports } from "../../src/gate/reports.ts";
import { Rules } from "../../src/gate/rules.ts";
import { Runs, type WorkflowAbout } from "../../src/gate/runs.ts";

const everything = create(RuleSchema, { brakeId: "br_1", matchNew: true });
const payments = create(RuleSchema, { brakeId: "br_2", matchNew: true, labels: { team: "payments" } });

function setup() {
  const orders = new Orders({ whenDisconnected: "go on", staleLimitMs: 1_000, holdLimitMs: 1_000 });
  const reports = new Reports(1_000);
  const runs = new Runs(orders, reports, () => {});
  let revision = 0n;
  return {
    runs,
    /** The inputs that were told of its beginning and of each step. */
    inputs: () =>
      (reports.after(0)?.events ?? []).flatMap(({ event: { case: what, value } }) =>
        what === "workflowStarted" || what === "stepStarted" ? [value.inputs] : [],
      ),
    hold: (...rules: (typeof everything)[]) => orders.apply(new Rules(++revision, rules)),
    /** What was reported, in a few words. */
    told: () =>
      (reports.after(0)?.events ?? []).map(({ event: { case: what, value } }) => {
        const { name, outcome } = value as { name?: string; outcome?: number };
        return `${what} ${name ?? outcome}`;
      }),
  };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a step runs at once, is reported, and hands on what it gives", async () => {
  const { runs, told } = setup();
  const run = runs.start({ type: "Refunds", id: "w1" });
  expect(await run.step("read", () => 3)).toBe(3);
  await expect(run.step("pay", () => Promise.reject(new Error("no funds")))).rejects.toThrow("no funds");
  run.end();
  run.end();
  const ended = ["stepStarted read", "stepEnded 1", "stepStarted pay", "stepEnded 2", "workflowEnded 1"];
  expect(told()).toEqual(["workflowStarted Refunds", ...ended]);
});

test("held, it waits; released, it runs once; other workflows are not held", async () => {
  const { runs, hold, told } = setup();
  hold(payments);
  const ran: string[] = [];
  const held = runs.start({ type: "T", labels: { team: "payments" } });
  const free = runs.start({ type: "T", labels: { team: "support" } });
  const waiting = held.step("pay", () => ran.push("held"));
  await free.step("pay", () => ran.push("free"));
  hold(payments, create(RuleSchema, { brakeId: "br_3", workflowIds: ["another"] }));
  await turn();
  expect(ran).toEqual(["free"]);
  hold();
  await waiting;
  expect(ran).toEqual(["free", "held"]);
  expect(told().filter((line) => line.startsWith("step"))).toEqual([
    "stepHeld pay",
    "stepStarted pay",
    "stepEnded 1",
    "stepStarted pay",
    "stepEnded 1",
  ]);
});

test("steps in flight when the set is applied are told of those that it holds", async () => {
  const { runs, hold } = setup();
  const { promise, resolve } = Promise.withResolvers<void>();
  const inFlight = [runs.start({ type: "T", labels: { team: "payments" } }), runs.start({ type: "T" })].map((run) =>
    run.step("pay", () => promise),
  );
  await turn();
  hold(payments);
  expect(runs.inFlightButHeld()).toBe(1);
  hold(everything);
  expect(runs.inFlightButHeld()).toBe(2);
  resolve();
  await Promise.all(inFlight);
  expect(runs.inFlightButHeld()).toBe(0);
});

test("no step of a hundred busy workflows starts once a set that holds them is in force", async () => {
  const { runs, hold } = setup();
  let started = 0;
  let over = false;
  const busy = Array.from({ length: 100 }, async () => {
    const run = runs.start({ type: "T" });
    const work = async () => {
      started++;
      await Promise.resolve();
    };
    while (!over) await run.step("turn", work);
  });
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < round; i++) await Promise.resolve();
    hold(everything);
    const atOnce = started;
    await turn();
    expect(started).toBe(atOnce);
    over = round === 19;
    hold();
    // The gated loops never leave the queue of microtasks by themselves.
    for (let i = 0; i < 50; i++) await Promise.resolve();
    expect(started).toBeGreaterThan(atOnce);
  }
  await Promise.all(busy);
});

test("a held step is given up by its signal, and when its workflow ends; it never ran", async () => {
  const { runs, hold } = setup();
  hold(everything);
  const run = runs.start({ type: "T" });
  const leave = new AbortController();
  const never = () => expect.unreachable();
  const [aborted, ended] = [run.step("a", never, { signal: leave.signal }), run.step("b", never)];
  leave.abort(new Error("no patience"));
  await expect(aborted).rejects.toThrow("no patience");
  run.cancel();
  await expect(ended).rejects.toThrow("has ended");
  hold();
  await expect(run.step("c", never)).rejects.toThrow("has ended");
});

test.each<[string, WorkflowAbout]>([
  ["type", { type: "" }],
  ["id", { type: "T", id: "x".repeat(257) }],
  ["label big", { type: "T", labels: { big: "x".repeat(257) } }],
  ["labels", { type: "T", labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`${i}`, ""])) }],
  ["name", { type: "T", name: "\ud800" }],
])("a workflow whose %s cannot be reported is refused", (what, about) => {
  expect(() => setup().runs.start(about)).toThrow(what);
});

test("inputs are told where they are given; what cannot be told keeps no step from being taken", async () => {
  const { runs, inputs } = setup();
  const run = runs.start({ type: "T", inputs: { batch: 7 } });
  const circle: { self?: unknown } = {};
  circle.self = circle;
  const given = [undefined, { refund: "RF-1" }, null, circle, 1n, () => {}, "x".repeat(40_000)];
  for (const each of given) await run.step("pay", () => {}, { inputs: each });
  const left = '"(left out: it is no JSON)"';
  const told = ["", '{"refund":"RF-1"}', "null", left, left, left, '"(left out: 40002 bytes)"'];
  expect(inputs()).toEqual(['{"batch":7}', ...told]);
});
