import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Attachment, GateHello, GateLimits } from "../../src/brakes/gate-attachment.ts";
import { Gates } from "../../src/brakes/gates.ts";
import { createLog } from "../../src/log.ts";
import { aRule } from "../gate/rule.ts";

let gates: Gates;
let leaving: AbortController;
beforeEach(() => {
  leaving = new AbortController();
  gates = hub();
});
afterEach(() => {
  vi.useRealTimers();
  leaving.abort();
});

const hub = (limits: Partial<GateLimits> = {}) =>
  new Gates({ engines: ["restate", "temporal"], log: createLog("silent"), limits });
const hello = (gate: string, more: Partial<GateHello> = {}): GateHello => ({
  gate,
  engine: "restate",
  types: [],
  instance: `instance of ${gate}`,
  ...more,
});
const attach = (gate: string, more: Partial<GateHello> = {}) =>
  gates.attach(hello(gate, more), "worker", leaving.signal);
const rules = (...ids: string[]) => [aRule({ workflowIds: ids })];

/** Takes the next set, and confirms it. */
async function follow(attachment: Attachment, sets = attachment.sets()) {
  const { value } = await sets.next();
  if (value === undefined) throw new Error("there is no further set");
  attachment.applied(value.set.revision, 0);
  return value;
}

test("a gate gets the set that stands, then every change; revisions increase", async () => {
  const first = gates.setRules("restate", rules("inv_1"));
  const attachment = attach("a");
  const sets = attachment.sets();
  expect((await follow(attachment, sets)).set).toMatchObject({ revision: first, rules: rules("inv_1") });
  const second = gates.setRules("restate", rules("inv_1", "inv_2"));
  expect((await follow(attachment, sets)).set).toMatchObject({ revision: second, rules: rules("inv_1", "inv_2") });
  expect(second).toBeGreaterThan(first);
});

test("revisions are above those of an earlier start", () => {
  const before = gates.setRules("restate", rules("inv_1"));
  vi.useFakeTimers({ now: Date.now() + 1 });
  expect(hub().setRules("restate", rules("inv_1"))).toBeGreaterThan(before);
});

test("the same rules again are no new set; another engine's are another set", () => {
  const revision = gates.setRules("restate", rules("inv_1"));
  expect(gates.setRules("restate", rules("inv_1"))).toBe(revision);
  expect(gates.setRules("temporal", rules("inv_1"))).toBeGreaterThan(revision);
  expect(gates.setRules("restate", rules("inv_2"))).toBeGreaterThan(revision);
});

test("rules that are changed after they were set do not change the set", async () => {
  const ids = ["inv_1"];
  gates.setRules("restate", [aRule({ workflowIds: ids })]);
  ids.push("inv_2");
  expect((await follow(attach("a"))).set.rules).toEqual(rules("inv_1"));
});

test("quick changes come as one: a gate gets the latest only, also one that is slow to confirm", async () => {
  const attachment = attach("a");
  const sets = attachment.sets();
  const { value } = await sets.next();
  let last = 0n;
  for (let i = 0; i < 100; i++) last = gates.setRules("restate", rules(`inv_${i}`));
  const next = sets.next();
  attachment.applied(value?.set.revision ?? 0n, 0);
  expect((await next).value?.set.revision).toBe(last);
});

test("a gate that does not confirm gets the next set all the same after a while", async () => {
  gates = hub({ confirmMs: 50 });
  const sets = attach("a").sets();
  await sets.next();
  const revision = gates.setRules("restate", rules("inv_1"));
  expect((await sets.next()).value?.set.revision).toBe(revision);
});

test("untilApplied resolves with the confirmation of every gate, as soon as all have confirmed", async () => {
  const [a, b] = [attach("a"), attach("b")];
  const revision = gates.setRules("restate", rules("inv_1"));
  const applied = gates.untilApplied("restate", revision, 10_000);
  await follow(a);
  const { value } = await b.sets().next();
  b.applied(value?.set.revision ?? 0n, 7);
  expect(await applied).toEqual([
    { gate: "a", instance: "instance of a", attached: true, appliedTime: expect.any(Number), stepsInFlight: 0 },
    { gate: "b", instance: "instance of b", attached: true, appliedTime: expect.any(Number), stepsInFlight: 7 },
  ]);
});

test("untilApplied takes a later revision too, and asks only the gates of the engine", async () => {
  attach("other", { engine: "temporal" });
  const a = attach("a");
  const revision = gates.setRules("restate", rules("inv_1"));
  gates.setRules("restate", rules("inv_2"));
  await follow(a);
  expect((await gates.untilApplied("restate", revision, 10_000)).map(({ gate }) => gate)).toEqual(["a"]);
});

test("a gate that does not confirm in time is named without a time", async () => {
  attach("mute");
  const revision = gates.setRules("restate", rules("inv_1"));
  expect(await gates.untilApplied("restate", revision, 20)).toMatchObject([
    { gate: "mute", attached: true, appliedTime: undefined, stepsInFlight: undefined },
  ]);
});

test("a gate that leaves while one waits is waited for no longer, and is named without a time", async () => {
  const attachment = attach("a");
  const applied = gates.untilApplied("restate", gates.setRules("restate", rules("inv_1")), 10_000);
  attachment.end();
  expect(await applied).toMatchObject([{ gate: "a", attached: false, appliedTime: undefined }]);
  expect(gates.attached()).toEqual([]);
});

test("a gate whose connection broke is waited for, and its confirmation counts when it is back", async () => {
  attach("a").end(new Error("connection reset"));
  const applied = gates.untilApplied("restate", gates.setRules("restate", rules("inv_1")), 10_000);
  await follow(attach("a"));
  expect(await applied).toMatchObject([{ gate: "a", attached: true, appliedTime: expect.any(Number) }]);
});

test("a gate whose connection broke is forgotten after a while", async () => {
  gates = hub({ rememberedMs: 20 });
  attach("a").end(new Error("connection reset"));
  const applied = gates.untilApplied("restate", gates.setRules("restate", rules("inv_1")), 10_000);
  expect(await applied).toMatchObject([{ gate: "a", attached: false, appliedTime: undefined }]);
  expect(await gates.untilApplied("restate", 1n, 10_000)).toEqual([]);
});

test("untilApplied rejects with the reason of its signal", async () => {
  attach("a");
  const stop = new AbortController();
  const applied = gates.untilApplied("restate", gates.setRules("restate", rules("x")), 10_000, stop.signal);
  stop.abort(new Error("the caller has left"));
  await expect(applied).rejects.toThrow("the caller has left");
  await expect(gates.untilApplied("restate", 1n, 10_000, stop.signal)).rejects.toThrow("the caller has left");
});

test("without gates nobody is waited for", async () => {
  expect(await gates.untilApplied("restate", gates.setRules("restate", rules("inv_1")), 10_000)).toEqual([]);
});

test("a revision that was not sent cannot be confirmed", async () => {
  const attachment = attach("liar");
  expect(() => attachment.applied(1n, 0)).toThrow("was not sent");
  const { set } = await follow(attachment);
  expect(() => attachment.applied(set.revision + 1n, 0)).toThrow("was not sent");
  expect(gates.attached()).toMatchObject([{ gate: "liar", appliedRevision: set.revision }]);
});

test("the same instance replaces its earlier stay; another instance of the same name does not", async () => {
  const before = attach("a");
  attach("a", { instance: "another process" });
  attach("a");
  await expect(before.sets().next()).rejects.toMatchObject({ reason: "GATE_REPLACED" });
  expect(gates.attached()).toHaveLength(2);
});

test("a gate is dropped when its signal aborts, also one that waits for nothing", async () => {
  const gone = new AbortController();
  const attachment = gates.attach(hello("a"), "worker", gone.signal);
  const sets = attachment.sets();
  await follow(attachment, sets);
  const next = sets.next();
  gone.abort(new Error("the connection is gone"));
  await expect(next).rejects.toThrow("the connection is gone");
  expect(gates.attached()).toEqual([]);
});

test("signs of life are sent while nothing changes, and who does not confirm them is dropped", async () => {
  gates = hub({ heartbeatMs: 20, silenceMs: 200 });
  const attachment = attach("a");
  const sets = attachment.sets();
  const { set } = await follow(attachment, sets);
  for (let i = 0; i < 20; i++) {
    expect(await follow(attachment, sets)).toMatchObject({ unchanged: true, set: { revision: set.revision } });
  }
  const silent = async () => {
    for await (const _ of sets);
  };
  await expect(silent()).rejects.toMatchObject({ reason: "GATE_SILENT" });
  expect(gates.attached()).toEqual([]);
});

test("an unknown engine is refused by name, here and in rules", () => {
  expect(() => attach("a", { engine: "restat" })).toThrow('no engine "restat" here: a gate names one of restate, temp');
  expect(() => gates.setRules("restat", [])).toThrow(RangeError);
});

test("gates are bounded in number: one more is refused, and has its place when another has left", () => {
  gates = hub({ gates: 2 });
  const first = attach("a");
  attach("b");
  expect(() => attach("c")).toThrow("2 gates are attached, which is the limit");
  first.end();
  attach("c");
  expect(gates.attached()).toHaveLength(2);
});

test("rules are bounded in number and in ids; the rules before stay", async () => {
  gates = hub({ workflowIds: 3, rules: 2 });
  const revision = gates.setRules("restate", rules("inv_1"));
  expect(() => gates.setRules("restate", rules("1", "2", "3", "4"))).toThrow("at most 2 rules with 3 workflow ids");
  expect(() => gates.setRules("restate", [aRule(), aRule(), aRule()])).toThrow(RangeError);
  expect((await follow(attach("a"))).set.revision).toBe(revision);
});

test("held workflows are told to every listener, and one that fails stops nobody", () => {
  const heard: unknown[] = [];
  gates.onHeld(() => {
    throw new Error("a defect");
  });
  const off = gates.onHeld((...report) => heard.push(report));
  const attachment = attach("a");
  attachment.held(["inv_1", "inv_2"], false);
  off();
  attachment.held(["inv_3"], true);
  expect(heard).toEqual([["restate", ["inv_1", "inv_2"], false]]);
});
