import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import {
  type Engine,
  type EngineStatus,
  type EngineWorkflow,
  endedStatuses,
  type Observation,
} from "../../../src/engines/engine.ts";
import type { EngineHarness } from "./harness.ts";

/** How long a test looks whether a step begins that must not: longer than any step, sleep or retry of its scripts. */
const lookMs = 600;
/** The longest wait for anything that is to come. */
const patienceMs = 20_000;

/** What tests ask an engine again and again. The contract has no other way to tell. */
export class Looking {
  readonly #harness: EngineHarness;
  readonly #engine: Engine;

  constructor(harness: EngineHarness, engine = harness.engine) {
    this.#harness = harness;
    this.#engine = engine;
  }

  /** Asks until the answer is there. */
  async until<Answer>(what: string, ask: () => Promise<Answer | undefined>): Promise<Answer> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const answer = await ask();
      if (answer !== undefined) return answer;
      if (Date.now() > deadline) throw new Error(`not seen within ${patienceMs} ms: ${what}`);
      await delay(15);
    }
  }

  async workflow(id: string): Promise<EngineWorkflow> {
    const [found] = await this.#engine.get([id]);
    if (found === undefined) throw new Error(`the engine does not know ${id}`);
    return found;
  }

  /** Resolves to the id of its child, once it has one. */
  child(id: string): Promise<string> {
    return this.until(`a child of ${id}`, async () => {
      const found = await this.#engine.list({ limit: 500 });
      return found.find(({ parentId }) => parentId === id)?.id;
    });
  }

  untilStatus(id: string, ...statuses: EngineStatus[]): Promise<EngineWorkflow> {
    return this.until(`${id} ${statuses.join(" or ")}`, async () => {
      const [found] = await this.#engine.get([id]);
      return found && statuses.includes(found.status) ? found : undefined;
    });
  }

  /** Resolves once the engine shows it in this phase. */
  untilPhase(id: string, phase: string): Promise<EngineWorkflow> {
    return this.until(`${id} ${phase}`, async () => {
      const [found] = await this.#engine.get([id]);
      return found?.phase === phase ? found : undefined;
    });
  }

  /** Resolves once the engine shows it paused, to what is seen of it then. */
  async untilStands(id: string): Promise<Observation> {
    await this.until(`${id} at a stand`, async () => {
      const shown = (await this.#engine.statuses([id])).get(id);
      if (shown === undefined) throw new Error(`${id} is not open any more`);
      return shown === "paused" ? shown : undefined;
    });
    const seen = (await this.#engine.observe([id], undefined, true)).get(id);
    if (seen === undefined) throw new Error(`the engine does not show ${id}`);
    return seen;
  }

  /** Holds it, and resolves once it stands. Asks once: what was accepted has to come true. */
  async hold(id: string): Promise<Observation> {
    const answer = (await this.#engine.hold([id])).get(id);
    expect(answer).toMatchObject({ kind: "accepted" });
    return this.untilStands(id);
  }

  /** Asserts that it stands, and that no step begins for as long as one looks. */
  async expectStill(id: string): Promise<void> {
    await delay(this.#engine.capabilities.settleMs);
    const before = this.#started(id);
    await delay(lookMs);
    expect(this.#started(id)).toEqual(before);
    expect((await this.#engine.statuses([id])).get(id)).toBe("paused");
  }

  /** Lets it go until it has ended: as the contract says, once more where it comes to a stand after it was released. */
  async letGo(id: string): Promise<EngineStatus> {
    expect((await this.#engine.release([id])).get(id)).toEqual({ kind: "released" });
    const again = !this.#engine.capabilities.releaseTakesBack;
    return this.until(`the end of ${id}`, async () => {
      const { status } = await this.workflow(id);
      if (again && status === "paused") await this.#engine.release([id]);
      return endedStatuses.includes(status) ? status : undefined;
    });
  }

  /**
   * Asserts that these steps ran to their ends, each exactly once; but for those that were cut off when it stood, once more for
   * each time.
   */
  expectRan(id: string, steps: readonly string[], ...stood: Observation[]): void {
    const cutOff = stood.flatMap((seen) => seen.steps.filter((step) => step.endTime === undefined));
    let hidden = stood.filter((seen) => seen.hidesStep).length;
    const ended = this.#harness.steps.of(id).filter((event) => event.event === "end");
    expect([...new Set(ended.map(({ step }) => step))].toSorted()).toEqual(steps.toSorted());
    for (const step of steps) {
      const times = this.#harness.steps.of(id, step).filter((event) => event.event === "start").length;
      let extra = times - 1 - cutOff.filter(({ name }) => name === step).length;
      for (; extra > 0 && hidden > 0; extra--) hidden--;
      expect({ step, unexplained: Math.max(0, extra) }).toEqual({ step, unexplained: 0 });
    }
  }

  #started(id: string): string[] {
    return this.#harness.steps
      .of(id)
      .filter(({ event }) => event === "start")
      .map(({ step }) => step);
  }
}

/** "step-1" up to so many. */
export const stepNames = (count: number) => Array.from({ length: count }, (_, n) => `step-${n + 1}`);
