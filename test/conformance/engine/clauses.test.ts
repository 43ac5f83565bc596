import { expect, test } from "vitest";
import { declared } from "../../../tools/engines/table.ts";
import { clauses, contract } from "./clauses.ts";
import { suite } from "./suite.ts";

const all = [...suite.together, ...suite.alone];
const shown = new Set<string>(all.flatMap(({ shows }) => shows));

test("the clauses are those of the contract: who changed one looks at its tests, and notes here what it has become", () => {
  expect(clauses).toEqual(contract());
});

test("every clause of the contract is shown by a test", () => {
  expect(Object.keys(contract()).filter((clause) => !shown.has(clause))).toEqual([]);
});

test("every capability is held against what the engine does", () => {
  const keys = new Set(Object.values(declared).flatMap((capabilities) => Object.keys(capabilities)));
  expect([...keys].filter((key) => !shown.has(key))).toEqual([]);
});

test("no two tests state the same fact: exceptions name them", () => {
  expect(new Set(all.map(({ fact }) => fact)).size).toBe(all.length);
});
