import type { GateRule } from "../../src/brakes/gates.ts";

/** A rule of brake br_1 that matches nothing, and what a test says about it. */
export function aRule(about: Partial<GateRule> = {}): GateRule {
  return {
    brakeId: "br_1",
    workflowIds: [],
    matchNew: false,
    types: [],
    handlers: [],
    namePrefix: "",
    labels: {},
    ...about,
  };
}

/** A rule that matches workflows to come too. */
export function newOnes(about: Partial<GateRule> = {}): GateRule {
  return aRule({ matchNew: true, ...about });
}
