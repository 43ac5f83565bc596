import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { askCedar, parsePolicies } from "../../src/policy/cedar.ts";
import type { PolicyQuestion } from "../../src/policy/policy.ts";
import { readPolicies } from "../../src/policy/policy-files.ts";
import { Relevance } from "../../src/policy/relevance.ts";
import { pause, workflow } from "./question.ts";

const policy = (condition: string) => `@id("x") forbid (principal, action, resource) when { ${condition} };`;
const context = { reason: "r", ticket: "t", now: 1, emergency: false, authentication: { method: "jwt" } };
const tell = (condition: string, changed: object) => {
  const relevance = new Relevance([policy(condition)]);
  return JSON.stringify(relevance.of(context)) !== JSON.stringify(relevance.of({ ...context, ...changed }));
};

test.each<[string, object, boolean]>([
  ["true", { reason: "other", now: 2 }, false],
  ['context.reason == ""', { reason: "other" }, false],
  ['context.reason == ""', { reason: "" }, true],
  ['"" != context.reason', { reason: "" }, true],
  ['context.reason == "" || context.reason like "*x*"', { reason: "other" }, true],
  ['context.reason like "*x*" || context.reason == ""', { reason: "other" }, true],
  ["context.reason == context.ticket", { reason: "t" }, true],
  ["context.reason == context.ticket", { ticket: "r" }, true],
  ["context.now > 5", { now: 2 }, true],
  ["context.now > 5", { reason: "other" }, false],
  ['context.authentication.method == "jwt"', { authentication: { method: "mtls" } }, true],
  ["context has brake", { brake: { own: true } }, true],
  ["context has brake && context.brake.own", { brake: { own: false } }, true],
  ["context has authentication.age", { authentication: { method: "jwt", age: 1 } }, true],
  ["if context.emergency then true else principal == principal", { emergency: true }, true],
  ['[context].contains({"reason": "r"})', { now: 2 }, true],
  ['{"a": context}.a.emergency', { emergency: true }, true],
  ["no policy at all (", { now: 2 }, true],
])("{ %s } can tell %o: %s", (condition, changed, told) => expect(tell(condition, changed)).toBe(told));

test("what is remembered is what Cedar says, whatever is asked in whatever order", async () => {
  const set = await readPolicies(join(import.meta.dirname, "../../policies"));
  const policies = parsePolicies(set);
  const parsed = parsePolicies(set);
  const brake = fc.record({
    brakeId: fc.constant("br_1"),
    matched: fc.nat(60),
    radius: fc.constantFrom(50, Number.POSITIVE_INFINITY),
    everything: fc.boolean(),
    emergency: fc.boolean(),
    own: fc.boolean(),
    staged: fc.boolean(),
  });
  const question = fc
    .record({
      action: fc.constantFrom(
        "runtime.pause",
        "runtime.resume",
        "runtime.get",
        "runtime.brake",
        "runtime.brake.release",
      ),
      roles: fc.subarray(["viewer", "sre", "sre_admin"]),
      machine: fc.boolean(),
      reason: fc.constantFrom("", " ", "one", "two"),
      emergency: fc.boolean(),
      label: fc.constantFrom("sre_admin", "anybody"),
      brake: fc.option(brake, { nil: undefined }),
    })
    .map(
      ({ roles, machine, label, ...asked }): PolicyQuestion => ({
        ...pause,
        ...asked,
        principal: { ...pause.principal, roles, machine },
        workflow: asked.action.startsWith("runtime.brake") ? undefined : { ...workflow, labels: { resume: label } },
      }),
    );
  fc.assert(
    fc.property(question, (one) => {
      const answer = askCedar(policies, one);
      const anew = askCedar(parsed, one);
      parsed.answers.clear();
      expect(answer).toEqual(anew);
    }),
    { numRuns: 500 },
  );
  expect(policies.answers.size).toBeGreaterThan(50);
  expect(policies.answers.size).toBeLessThan(500);
});
