import { expect, test } from "vitest";
import { allOf, type Outcome, type PointDecision } from "../../src/policy/decision.ts";

const said = (point: string, outcome: Outcome, more: Partial<PointDecision> = {}): PointDecision => ({
  ...{ point, outcome, message: "", policyIds: [`${point}-1`], policySetHash: "", cached: false, durationMs: 1 },
  ...more,
});
const cedar = (outcome: Outcome, message = "") => said("cedar", outcome, { message, policySetHash: "abc" });
const kos = (outcome: Outcome, message = "") => said("kos", outcome, { message });

test.each<[Outcome, Outcome, boolean]>([
  ["allowed", "allowed", true],
  ["allowed", "bypassed", true],
  ["allowed", "denied", false],
  ["denied", "allowed", false],
  ["denied", "bypassed", false],
  ["failed", "allowed", false],
  ["allowed", "failed", false],
  ["allowed", "unreachable", false],
  ["failed", "unreachable", false],
  ["denied", "denied", false],
])("%s here and %s there is allowed: %s", (here, there, allowed) => {
  expect(allOf([cedar(here), kos(there)]).allowed).toBe(allowed);
});

test("a denial names the policies and messages of both", () => {
  expect(allOf([cedar("denied", "say why"), kos("denied", "not on Sundays")])).toMatchObject({
    allowed: false,
    failed: false,
    message: "cedar: say why; kos: not on Sundays",
    policyIds: ["cedar-1", "kos-1"],
    policySetHash: "abc",
  });
});

test("a clean no outweighs a failure; without one it is told whether somebody could not be asked", () => {
  expect(allOf([cedar("denied", "no"), kos("unreachable", "away")])).toMatchObject({
    failed: false,
    unreachable: false,
  });
  expect(allOf([cedar("failed", "broken"), kos("unreachable")])).toMatchObject({ failed: true, unreachable: false });
  expect(allOf([cedar("allowed"), kos("unreachable", "kos is away")])).toMatchObject({
    ...{ failed: true, unreachable: true, message: "kos is away", policyIds: ["kos-1"], bypassed: [] },
  });
});

test("who decided in favour are all that were asked, and what it went on without is told", () => {
  expect(allOf([cedar("allowed"), kos("bypassed", "allowed WITHOUT kos")])).toMatchObject({
    ...{ allowed: true, failed: false, message: "allowed WITHOUT kos", bypassed: ["kos"] },
  });
});

test("nobody to ask is a no", () => expect(allOf([])).toMatchObject({ allowed: false, failed: true }));
