import { expect, test } from "vitest";
import { compileExpression } from "../../src/brakes/selector/expression.ts";
import type { EngineWorkflow } from "../../src/engines/engine.ts";

const refund: EngineWorkflow = {
  id: "inv_1",
  type: "RefundAgent",
  name: "RefundAgent/batch-7/run",
  status: "running",
  phase: "suspended",
  labels: Object.fromEntries([
    ["risk", "high"],
    ["owner", "payments"],
    ["__proto__", "label"],
  ]),
  parentId: "inv_0",
  createTime: new Date("2026-03-01T12:00:00Z"),
  startTime: undefined,
  updateTime: new Date("2026-03-01T12:00:00Z"),
  endTime: undefined,
  errorMessage: "",
  dueTime: undefined,
};

test.each([
  ['workflow.labels["risk"] == "high" && workflow.name.startsWith("Refund")', true],
  ["has(workflow.labels.risk)", true],
  ["has(workflow.labels.tier)", false],
  ['has(workflow.labels.tier) && workflow.labels.tier == "gold"', false],
  ['workflow.labels["tier"] == "gold"', "field not found: tier"],
  ['workflow.labels["tier"] == "gold" || workflow.type == "RefundAgent"', true],
  ['workflow.id == "restate:inv_1" && workflow.parent_id == "restate:inv_0" && workflow.engine == "restate"', true],
  ['workflow.status == "RUNNING" && workflow.phase == "suspended" && workflow.owner == "payments"', true],
  ['workflow.create_time > timestamp("2026-03-01T00:00:00Z") + duration("11h59m")', true],
  ["has(workflow.start_time)", false],
  ["workflow.start_time > workflow.create_time", "field not found: start_time"],
  ['workflow.name.matches("^Refund.*/run$")', true],
  ['workflow.type in ["RefundAgent", "OrderAgent"]', true],
  ["workflow.type in []", false],
  ['"risk" in workflow.labels', true],
  ['workflow.labels.exists(key, key == "risk" && workflow.labels[key] == "high")', true],
  ['workflow.labels.all(key, key == "risk")', false],
  ['["a", "b"].map(x, x + "!") == ["a!", "b!"]', true],
  ['(workflow.status == "PAUSED" ? workflow.name : workflow.type) == "RefundAgent"', true],
  ["size(workflow.labels) == 3", true],
  ['workflow.labels["__proto__"] == "label" && workflow.labels.__proto__ == "label"', true],
  ['workflow.labels["constructor"] == "x"', "field not found: constructor"],
  ['"größer ✓" > "a" || false', true],
])("%s is %s", (text, verdict) => {
  expect(compileExpression(text)("restate", refund)).toBe(verdict);
});

test.each([
  ["workflow.name", "at character 9: it is a string, and has to be true or false (bool)"],
  ['workflow.nme == "x"', 'at character 9: a workflow has no "nme", only id, engine, type,'],
  ["true || workflow.nme", 'a workflow has no "nme"'],
  ["workflow.status == 2", "both sides of == and != have one type, not string and int"],
  ["workflow.name\n  .startsWith(1)", "at line 2, character 3: startsWith() does not take string and int"],
  ['workflow.name = "x"', 'at character 15: "= "x"" does not belong there'],
  ["", "it ends too early"],
  ["(true", "at character 6: it ends too early"],
  ["name == 'x'", '"name" is not known: there is only workflow'],
  ["constructor", '"constructor" is not known'],
  ["__proto__", '"__proto__" is not known'],
  ["workflow.constructor", 'no "constructor"'],
  ["workflow.name.lowerAscii() == 'x'", "there is no lowerAscii() here"],
  ["dyn(workflow.name) == 1", "there is no dyn() here"],
  ["has(workflow.owner)", 'every workflow has "owner"'],
  ['workflow.create_time > timestamp("yesterday")', "Failed to parse timestamp"],
  ["1 / 0 == 1", "divide by zero"],
  ["workflow.type in [1]", "a string cannot be in a list(int)"],
  ['["a", 1] == []', "the elements of a list have one type"],
  ["true ? 'a' : 1", "both sides of ?: have one type"],
  ['{"a": true}["a"]', "maps and messages cannot be made"],
  ["99999999999999999999 == 1", "does not fit into 64 bits"],
  ['workflow.name.matches("(")', "missing closing )"],
  ["workflow.name.matches(workflow.type)", "has to be written as a literal"],
  ['workflow.name.matches("a(?=b)")', "error parsing regexp"],
  ["[1].exists(workflow, true)", 'call the variable other than "workflow"'],
])("%s is refused: %s", (text, says) => {
  expect(() => compileExpression(text)).toThrow(says);
});

const nest = (open: string, inside: string, close: string, times: number) =>
  open.repeat(times) + inside + close.repeat(times);

test.each([
  ["brackets to the brim", nest("(", "true", ")", 2046)],
  ["open brackets", "(".repeat(4096)],
  ["lists in lists", nest("[", "1", "]", 2000)],
  ["indices in indices", nest("workflow.labels[", '"a"', "]", 250)],
  ["conditions in conditions", `${"true ? true : ".repeat(290)}true`],
  ["a chain of fields", `workflow${".a".repeat(2000)}`],
  ["a sum of many", `1${"+1".repeat(2000)} == 0`],
  ["macros in macros", nest("[1].exists(x, ", "true", ")", 60)],
  ["a macro in a macro", "[1].exists(x, [2].exists(y, true))"],
  ["a list that doubles", `[[1]]${".map(x, x + x)".repeat(250)} == [[1]]`],
  ["a text that doubles", `["a"]${".map(x, x + x)".repeat(2)} == ["a"]`],
  ["too long", `"${"x".repeat(4096)}" == "x"`],
  ["too many patterns", Array.from({ length: 9 }, (_, i) => `workflow.name.matches("${i}")`).join(" || ")],
  ["repetitions of repetitions", 'workflow.name.matches("((a{30}){30})$")'],
  ["repetitions beyond RE2", 'workflow.name.matches("((a{100}){100}){100}")'],
  ["a long pattern", `workflow.name.matches("${"a?".repeat(200)}")`],
])("a hostile expression is refused within a second: %s", (_what, text) => {
  const start = performance.now();
  expect(() => compileExpression(text)).toThrow(/nested|longer|more than|cost|does not belong|no "a"|too early|repeat/);
  expect(performance.now() - start).toBeLessThan(1000);
});

test.each([
  ["nested quantifiers", 'workflow.name.matches("(a+)+$")'],
  ["alternatives that overlap", 'workflow.name.matches("^(a|a|aa)*$")'],
  ["optional ones", `workflow.name.matches("${"a?".repeat(100)}${"a".repeat(50)}$")`],
  ["a counter", 'workflow.name.matches("[ab]*a[ab]{400}[cd]")'],
  ["borders", String.raw`workflow.name.matches("\\b(?:[ab]?){200}\\B[cd]")`],
  ["loops", `[${"1,".repeat(110)}1].all(x, x in [${"2,".repeat(110)}1])`],
  ["patterns in loops", `[${"1,".repeat(150)}1].all(x, !workflow.name.matches("[ab]*a[ab]{400}[cd]"))`],
  ["texts in loops", `[${"1,".repeat(60)}1].all(x, size(${"workflow.name + ".repeat(50)}"") >= 0)`],
])("a catastrophic expression is told or given up within a second a workflow: %s", (_what, text) => {
  const judge = compileExpression(text);
  for (const name of ["a".repeat(100_000), "a".repeat(8000), `${"ab".repeat(500)}!`, "a".repeat(30), ""]) {
    const start = performance.now();
    expect(["boolean", "string"]).toContain(typeof judge("restate", { ...refund, name }));
    expect(performance.now() - start).toBeLessThan(1000);
  }
});

test("a workflow that costs too much is one that cannot be told, and the next one begins anew", () => {
  const judge = compileExpression('workflow.name.matches("^[ab]*a[ab]{200}[cd]$")');
  expect(judge("restate", { ...refund, name: "ab".repeat(2000) })).toContain("costs too much");
  expect(judge("restate", { ...refund, name: "a".repeat(100_000) })).toContain("more than 8192 characters");
  expect(judge("restate", { ...refund, name: `${"a".repeat(300)}c` })).toBe(true);
});
