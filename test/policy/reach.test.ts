import fc from "fast-check";
import { expect, test } from "vitest";
import { Reach } from "../../src/policy/reach.ts";
import type { Scope } from "../../src/store/brake.ts";

const pays = { type: "Pay", labels: { tenant: "acme", risk: "high" } };

test("everything admits everything, also what nobody knows; a limited reach does not", () => {
  expect(Reach.everything.admits("restate", undefined)).toBe(true);
  expect(Reach.everything.isLimited).toBe(false);
  expect(new Reach([{ types: ["Pay"] }]).admits("restate", undefined)).toBe(false);
  expect(new Reach([]).admits("restate", pays)).toBe(false);
});

test("all of a scope has to match, and one scope of several is enough", () => {
  const both = new Reach([{ engines: ["restate"], types: ["Pay"], labels: { tenant: "acme" } }]);
  expect(both.admits("restate", pays)).toBe(true);
  expect(both.admits("other", pays)).toBe(false);
  expect(both.admits("restate", { ...pays, type: "Mail" })).toBe(false);
  expect(both.admits("restate", { ...pays, labels: { tenant: "globex" } })).toBe(false);
  expect(both.admits("restate", { ...pays, labels: {} })).toBe(false);
  expect(both.or(new Reach([{ types: ["Mail"] }])).admits("other", { ...pays, type: "Mail" })).toBe(true);
});

test("names of the language are no labels", () => {
  for (const key of ["constructor", "__proto__", "toString"]) {
    const labels = JSON.parse(`{"${key}": "x"}`) as Record<string, string>;
    expect(new Reach([{ labels }]).admits("restate", { type: "Pay", labels: {} })).toBe(false);
    expect(new Reach([{ labels }]).admits("restate", { type: "Pay", labels })).toBe(true);
  }
});

const some = (values: readonly string[]) =>
  fc.option(fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 }), { nil: undefined });
const scope: fc.Arbitrary<Scope> = fc.record({
  engines: some(["a", "b"]),
  types: some(["T", "U", "V"]),
  labels: fc.option(fc.dictionary(fc.constantFrom("k", "l"), fc.constantFrom("1", "2")), { nil: undefined }),
});
const workflow = fc.record({
  engine: fc.constantFrom("a", "b"),
  type: fc.constantFrom("T", "U", "V"),
  labels: fc.dictionary(fc.constantFrom("k", "l"), fc.constantFrom("1", "2")),
});

test("what covers a scope admits all that is in it", () => {
  fc.assert(
    fc.property(fc.array(scope), scope, workflow, (outer, inner, { engine, ...traits }) => {
      const wide = new Reach(outer);
      fc.pre(wide.covers([inner]));
      expect(new Reach([inner]).admits(engine, traits)).toSatisfy((is) => !is || wide.admits(engine, traits));
    }),
    { numRuns: 2_000 },
  );
});

test("what is asked of an engine is what it admits there", () => {
  fc.assert(
    fc.property(fc.array(scope), workflow, (scopes, { engine, ...traits }) => {
      const reach = new Reach(scopes);
      const parts = reach.on(engine);
      const asked = parts === undefined || new Reach(parts).admits(engine, traits);
      expect(asked).toBe(reach.admits(engine, traits));
      if (reach.admits(engine, traits)) expect(reach.admitsEngine(engine)).toBe(true);
      if (reach.coversEngine(engine)) expect(reach.admits(engine, traits)).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
