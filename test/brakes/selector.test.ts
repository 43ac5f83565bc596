import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type CompiledSelector, compileSelector } from "../../src/brakes/selector.ts";
import type { EngineStatus, EngineWorkflow } from "../../src/engines/engine.ts";
import { MissionControlError } from "../../src/errors.ts";

const engines = ["restate", "lab"];

function compile(init: MessageInitShape<typeof SelectorSchema>): CompiledSelector {
  return compileSelector(create(SelectorSchema, init), engines);
}

function refusal(init: MessageInitShape<typeof SelectorSchema>): MissionControlError {
  try {
    compile(init);
  } catch (error) {
    if (error instanceof MissionControlError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

function workflow(shown: Partial<EngineWorkflow> = {}): EngineWorkflow {
  return {
    id: "inv_1",
    type: "RefundAgent",
    name: "RefundAgent/batch-7/run",
    status: "running",
    phase: "running",
    labels: { risk: "high" },
    parentId: undefined,
    createTime: new Date("2026-03-01T00:00:00Z"),
    startTime: undefined,
    updateTime: new Date("2026-03-01T00:00:00Z"),
    endTime: undefined,
    errorMessage: "",
    dueTime: undefined,
    ...shown,
  };
}

test("an empty selector is refused, and says how everything is meant", () => {
  const error = refusal({});
  expect(error).toMatchObject({ reason: "SELECTOR_EMPTY", code: Code.InvalidArgument });
  expect(error.message).toContain("everything: true");
  expect(compile({ everything: true }).matches("restate", workflow())).toBe(true);
});

test.each([
  ["everything and a field", { everything: true, types: ["A"] }, "selector.everything", "contradicts types"],
  ["an engine that there is not", { engines: ["restate", "temporal"] }, "selector.engines[1]", "knows restate, lab"],
  [
    "a status that has ended",
    { statuses: [Status.FAILED] },
    "selector.statuses[0]",
    "say PENDING, RUNNING, PAUSED or SILENT",
  ],
  [
    "a brake's own status",
    { statuses: [Status.RUNNING, Status.PAUSING] },
    "selector.statuses[1]",
    "PAUSING is a brake's",
  ],
  ["a label without a key", { labels: ["=x"] }, "selector.labels[0]", 'write "key=value"'],
  ["a label with two values", { labels: ["a=1", "a=2"] }, "selector.labels[1]", 'both "1" and "2"'],
  ["an id without an engine", { workflowIds: ["inv_1"] }, "selector.workflow_ids[0]", '"restate:…"'],
  ["an id without an id", { workflowIds: ["restate:"] }, "selector.workflow_ids[0]", "is no workflow_id"],
  ["an id of an unknown engine", { workflowIds: ["temporal:x"] }, "selector.workflow_ids[0]", "knows restate, lab"],
  ["a prefix that no id has", { idPrefix: "inv_1" }, "selector.id_prefix", '"restate:"'],
  ["ids of another engine", { engines: ["lab"], workflowIds: ["restate:x"] }, "selector.workflow_ids", "any engine"],
  ["an expression that does not parse", { expression: "workflow.name =" }, "selector.expression", "at character 15"],
  ["an expression of text", { expression: "workflow.name" }, "selector.expression", "it is a string"],
])("%s is refused, by name and with what to do", (_what, init, field, says) => {
  const error = refusal(init);
  expect(error).toMatchObject({ reason: "SELECTOR_INVALID", code: Code.InvalidArgument });
  expect(error.violations.map((violation) => violation.field)).toEqual([field]);
  expect(error.message).toContain(says);
});

test("an empty or impossible span of time is refused", () => {
  const at = timestampFromDate(new Date("2026-01-01T00:00:00Z"));
  expect(refusal({ createdAfter: at, createdBefore: at }).violations[0]?.field).toBe("selector.created_before");
  expect(refusal({ createdAfter: { seconds: 10n ** 15n } }).violations[0]?.field).toBe("selector.created_after");
});

test("all that is wrong is named at once, at most 20 of a list", () => {
  const error = refusal({
    engines: ["x"],
    workflowIds: Array.from({ length: 9999 }, () => "nothing"),
    expression: "1",
  });
  expect(error.violations).toHaveLength(22);
  expect(error.message).toContain("and 21 more");
});

test("what has ended never matches", () => {
  const all = compile({ everything: true });
  const statuses: EngineStatus[] = ["pending", "running", "paused", "completed", "failed", "canceled", "rolledBack"];
  expect(statuses.filter((status) => all.matches("restate", workflow({ status })))).toEqual([
    "pending",
    "running",
    "paused",
  ]);
});

test("a label's value may hold equals signs, nothing, or any character; names of prototypes are names", () => {
  const labels = Object.fromEntries([
    ["__proto__", "polluted"],
    ["constructor", "x"],
    ["query", "a=b=c"],
    ["empty", ""],
    ["größe", "✓ 大"],
  ]);
  const matches = (...wanted: string[]) => compile({ labels: wanted }).matches("restate", workflow({ labels }));
  expect(matches("__proto__=polluted", "constructor=x", "query=a=b=c", "empty=", "größe=✓ 大")).toBe(true);
  expect(matches("query=a=b")).toBe(false);
  expect(matches("absent=")).toBe(false);
  expect(compile({ labels: ["__proto__=polluted"] }).matches("restate", workflow())).toBe(false);
  expect(compile({ labels: ["toString="] }).matches("restate", workflow())).toBe(false);
  const pushed = compile({ labels: ["__proto__=polluted"] }).listQuery("restate")?.labels ?? {};
  expect(Object.entries(pushed)).toEqual([["__proto__", "polluted"]]);
});

test("an id prefix begins with the engine: it chooses the engines, and the rest is pushed down", () => {
  expect(compile({ idPrefix: "restate:inv_1" }).engines(engines)).toEqual(["restate"]);
  expect(compile({ idPrefix: "restate:inv_1" }).listQuery("restate")).toMatchObject({ idPrefix: "inv_1" });
  expect(compile({ idPrefix: "restate:" }).listQuery("restate")).not.toHaveProperty("idPrefix");
  expect(compile({ idPrefix: "la" }).engines(engines)).toEqual(["lab"]);
  expect(compile({ idPrefix: "restate:inv_1" }).listQuery("lab")).toBeUndefined();
});

test("workflow ids are pushed down to their own engine only", () => {
  const selector = compile({ workflowIds: ["restate:inv_1", "lab:a:b", "restate:inv_1"] });
  expect(selector.listQuery("restate")?.ids).toEqual(["inv_1"]);
  expect(selector.listQuery("lab")?.ids).toEqual(["a:b"]);
  expect(selector.matches("lab", workflow({ id: "a:b" }))).toBe(true);
  expect(selector.matches("lab", workflow({ id: "inv_1" }))).toBe(false);
});

test("a bound within a millisecond holds what may be before it", () => {
  const seconds = 1_700_000_000n;
  const selector = compile({ createdBefore: { seconds, nanos: 500 } });
  expect(selector.matches("restate", workflow({ createTime: new Date(1_700_000_000_000) }))).toBe(true);
  expect(selector.matches("restate", workflow({ createTime: new Date(1_700_000_000_001) }))).toBe(false);
});

test("a gate can tell new workflows by types, name and engine alone", () => {
  expect(compile({ everything: true }).gateRule("lab")).toEqual({
    matchNew: true,
    types: [],
    namePrefix: "",
    workflowIds: [],
    labels: {},
  });
  expect(compile({ engines: ["restate"], types: ["A"], namePrefix: "A/x" }).gateRule("restate")).toEqual({
    matchNew: true,
    types: ["A"],
    namePrefix: "A/x",
    workflowIds: [],
    labels: {},
  });
  expect(compile({ engines: ["restate"] }).gateRule("lab")).toBeUndefined();
  const open = [Status.PENDING, Status.RUNNING, Status.PAUSED, Status.SILENT];
  expect(compile({ statuses: open }).gateRule("lab")?.matchNew).toBe(true);
});

test.each([
  ["labels", { labels: ["a=b"] }],
  ["statuses", { statuses: [Status.RUNNING] }],
  ["created_after", { createdAfter: timestampFromDate(new Date(0)) }],
  ["created_before", { createdBefore: timestampFromDate(new Date(0)) }],
  ["id_prefix", { idPrefix: "lab:x" }],
  ["expression", { expression: "true" }],
  ["workflow_ids", { workflowIds: ["lab:x"] }],
])("a gate cannot tell new workflows by %s", (_what, init) => {
  expect(compile(init).gateRule("lab")?.matchNew).toBe(false);
});

test("a gate gets the labels only where with types and name they are all that decides", () => {
  const labels = ["a=b", "c=d"];
  const rule = compile({ labels, types: ["A"], namePrefix: "A/x" }).gateRule("lab");
  expect(rule).toEqual({
    matchNew: false,
    types: ["A"],
    namePrefix: "A/x",
    workflowIds: [],
    labels: { a: "b", c: "d" },
  });
  expect(compile({ labels, workflowIds: ["lab:x"] }).gateRule("lab")).toMatchObject({ labels: {}, workflowIds: [] });
  expect(compile({ labels, expression: "true" }).gateRule("lab")?.labels).toEqual({});
  expect(compile({ labels, statuses: [Status.RUNNING] }).gateRule("lab")?.labels).toEqual({});
});

test("a gate gets the ids only where they alone decide", () => {
  expect(compile({ workflowIds: ["lab:x", "restate:y"] }).gateRule("lab")?.workflowIds).toEqual(["x"]);
  expect(compile({ workflowIds: ["lab:x"], types: ["A"] }).gateRule("lab")?.workflowIds).toEqual([]);
  expect(compile({ workflowIds: ["lab:x"], expression: "true" }).gateRule("lab")?.workflowIds).toEqual([]);
});

test("workflows whose expression cannot be told are not held, but counted once each until they can", () => {
  const selector = compile({ types: ["RefundAgent"], expression: 'workflow.labels["risk"] == "high"' });
  expect(selector.errors).toEqual({ count: 0, lastMessage: "" });
  expect(selector.matches("restate", workflow({ labels: {} }))).toBe(false);
  expect(selector.matches("restate", workflow({ labels: {} }))).toBe(false);
  expect(selector.matches("restate", workflow({ id: "inv_2", labels: {} }))).toBe(false);
  expect(selector.matches("restate", workflow({ id: "inv_3", type: "Other", labels: {} }))).toBe(false);
  expect(selector.errors).toEqual({ count: 2, lastMessage: "field not found: risk" });
  expect(selector.matches("restate", workflow())).toBe(true);
  expect(selector.matches("restate", workflow({ id: "inv_2", status: "completed" }))).toBe(false);
  expect(selector.errors).toEqual({ count: 0, lastMessage: "" });
});

test("a workflow with a broken time is one that cannot be told, not a crash", () => {
  const selector = compile({ expression: "workflow.create_time > timestamp(0)" });
  expect(selector.matches("restate", workflow({ createTime: new Date(Number.NaN) }))).toBe(false);
  expect(selector.errors.count).toBe(1);
});

test("it describes itself on one line of at most 200 characters", () => {
  expect(compile({ everything: true }).describe()).toBe("everything");
  expect(
    compile({
      engines: ["lab", "restate"],
      types: ["RefundAgent"],
      statuses: [Status.RUNNING],
      labels: ["risk=high"],
      namePrefix: "Refund",
      createdAfter: timestampFromDate(new Date("2026-01-01T00:00:00Z")),
    }).describe(),
  ).toBe(
    "engine lab or restate, type RefundAgent, status RUNNING, label risk=high, name Refund…, created since 2026-01-01T00:00:00.000Z",
  );
  expect(compile({ labels: ["note=a\nb\u2028c\u001b[31m"] }).describe()).toBe("label note=a b c [31m");
  const long = compile({ labels: [`x=${"😀".repeat(200)}`] }).describe();
  expect(long.length).toBeLessThanOrEqual(200);
  expect(long).toMatch(/😀…$/u);
});
