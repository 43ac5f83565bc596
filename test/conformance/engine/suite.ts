import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { Engine } from "../../../src/engines/engine.ts";
import type { Shows } from "./clauses.ts";
import type { EngineHarness, FaultyLink } from "./harness.ts";
import { Looking } from "./looking.ts";
import { capabilityTests } from "./tests/capabilities.ts";
import { crashTests } from "./tests/crash.ts";
import { faultTests } from "./tests/faults.ts";
import { holdingTests } from "./tests/holding.ts";
import { listTests } from "./tests/list.ts";
import { stateTests } from "./tests/states.ts";
import { stepTests } from "./tests/steps.ts";
import { strangeTests } from "./tests/strange.ts";

/** What a test is given. */
export interface Tested extends EngineHarness {
  readonly look: Looking;
  /** A bad line of this test's alone. */
  line(): Promise<FaultyLink & { readonly look: Looking }>;
}

/** One test, for every engine. */
export interface ConformanceTest {
  /** A fact, and the test's name among all. */
  readonly fact: string;
  readonly shows: readonly Shows[];
  /** True where it needs a line that can be made bad. */
  readonly needsLink?: boolean;
  run(tested: Tested): Promise<void>;
}

/** Tests that run at the same time, and those that make the engine crash, one after the other. */
export const suite = {
  together: [
    ...listTests,
    ...stateTests,
    ...stepTests,
    ...holdingTests,
    ...capabilityTests,
    ...strangeTests,
    ...faultTests,
  ] satisfies readonly ConformanceTest[],
  alone: crashTests satisfies readonly ConformanceTest[],
} as const;

/** Tests that an engine without a line cannot have. */
export const needsLink = [...suite.together, ...suite.alone].filter((one) => one.needsLink).map(({ fact }) => fact);

/** What an engine is excused from, and why. */
export interface Exception {
  readonly reason: string;
  /** The facts of the tests. */
  readonly tests: readonly string[];
}

/** Runs the suite against one engine. Every exception has its reason, which the report shows. */
export function engineConformance(
  name: string,
  open: () => Promise<EngineHarness>,
  { skip = [] }: { readonly skip?: readonly Exception[] } = {},
): void {
  const excused = new Map(skip.flatMap(({ reason, tests }) => tests.map((fact) => [fact, reason])));
  let harness: EngineHarness;
  beforeAll(async () => {
    harness = await open();
    // Some adapters know only then what they can do.
    await harness.engine.probe();
  });
  afterAll(() => harness?.stop());

  const body = (one: ConformanceTest) => async (context: TestContext) => {
    const look = (engine?: Engine) => new Looking(harness, engine);
    const line = async () => {
      if (harness.link === undefined) throw new Error("this engine has no line: name it among its exceptions");
      const link = await harness.link();
      context.onTestFinished(() => link.close());
      return { ...link, look: look(link.engine) };
    };
    await one.run({ ...harness, look: look(), line });
  };
  const add = (one: ConformanceTest, concurrent: boolean) => {
    const title = `${one.shows.join(", ")}: ${one.fact}`;
    const reason = excused.get(one.fact);
    if (reason !== undefined) test.skip(`${title} (not here: ${reason})`);
    else test(title, { concurrent }, body(one));
  };

  describe(`engine: ${name}`, () => {
    for (const one of suite.together) add(one, true);
    for (const one of suite.alone) add(one, false);
    test("every exception is of a test that there is", () => {
      const facts = [...suite.together, ...suite.alone].map(({ fact }) => fact);
      expect([...excused.keys()].filter((fact) => !facts.includes(fact))).toEqual([]);
    });
  });
}
