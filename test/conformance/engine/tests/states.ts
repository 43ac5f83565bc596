import { expect } from "vitest";
import type { Observation } from "../../../../src/engines/engine.ts";
import type { Script } from "../harness.ts";
import { stepNames } from "../looking.ts";
import type { ConformanceTest, Tested } from "../suite.ts";

/** A state in which a workflow can be when it is held. */
interface State {
  readonly of: string;
  readonly script: Script;
  readonly steps: readonly string[];
  /** Resolves once it is in the state. */
  reached(tested: Tested, id: string): Promise<unknown>;
  /** What happens to it while it is held: it must not move all the same. */
  meanwhile?(tested: Tested, id: string): Promise<unknown>;
}

const states: readonly State[] = [
  {
    of: "a step in flight",
    script: { does: "steps", count: 4, ms: 300 },
    steps: stepNames(4),
    reached: ({ steps }, id) => steps.untilStep(id, "step-2"),
  },
  {
    of: "four steps in flight",
    script: { does: "parallel", ms: 300 },
    steps: stepNames(5),
    reached: ({ steps }, id) => steps.until("four in flight", () => steps.inFlight(id).length === 4),
  },
  {
    of: "asleep",
    script: { does: "sleep", ms: 900 },
    steps: stepNames(2),
    reached: ({ steps }, id) => steps.untilStep(id, "step-1", "end"),
  },
  {
    of: "asleep and idle",
    script: { does: "sleep", ms: 900, idle: true },
    steps: stepNames(2),
    reached: ({ look }, id) => look.untilPhase(id, "suspended"),
  },
  {
    of: "awaiting a signal",
    script: { does: "await" },
    steps: stepNames(2),
    reached: ({ steps }, id) => steps.untilAwakeable(id),
    meanwhile: ({ signal }, id) => signal(id),
  },
  {
    of: "awaiting a signal and idle",
    script: { does: "await", idle: true },
    steps: stepNames(2),
    reached: ({ look }, id) => look.untilPhase(id, "suspended"),
    meanwhile: ({ signal }, id) => signal(id),
  },
  {
    of: "between two attempts at a step",
    script: { does: "retry", failures: 3 },
    steps: stepNames(3),
    reached: ({ steps }, id) => steps.untilStep(id, "step-2", "fail"),
  },
  {
    of: "waiting for a child",
    script: { does: "parent", count: 4, ms: 250 },
    steps: stepNames(2),
    reached: ({ look }, id) => look.child(id),
  },
];

/** Every state of a workflow that runs: held, at a stand, still, let go, ended as it would have without. */
const held = states.map(
  ({ of, script, steps, reached, meanwhile }): ConformanceTest => ({
    fact: `${of}: what is held comes to a stand, no step begins, and let go it ends as it would have`,
    shows: ["hold.1", "hold.4", "statuses.2", "release.1", "settleMs"],
    async run(tested) {
      const { engine, look } = tested;
      const id = await tested.start(script);
      await reached(tested, id);
      expect((await engine.hold([id])).get(id)).toMatchObject({ kind: "accepted" });
      // Where it halts only before its next step, what it waits for has to come first.
      const late = engine.capabilities.haltsAt === "beforeStep";
      if (late) await meanwhile?.(tested, id);
      const stood = await look.untilStands(id);
      if (!late) await meanwhile?.(tested, id);
      await look.expectStill(id);
      expect(await look.letGo(id)).toBe("completed");
      // Attempts that failed ran again without any hold.
      const failed = script.does === "retry" ? failedAttempts(script.failures) : [];
      look.expectRan(id, steps, stood, ...failed);
    },
  }),
);

const failedAttempts = (count: number): Observation[] =>
  Array.from({ length: count }, () => ({
    status: "running",
    phase: "",
    hidesStep: false,
    steps: [{ index: 0, name: "step-2", startTime: new Date(0), endTime: undefined, succeeded: false, failing: true }],
  }));

export const stateTests: readonly ConformanceTest[] = [
  ...held,
  {
    fact: "pending, before its time: either it is held and takes no step, or the answer is notYet and it begins",
    shows: ["hold.3", "haltsPending"],
    async run({ engine, look, start }) {
      const id = await start({ does: "steps", count: 2, ms: 30 }, { delayMs: 900 });
      expect((await look.workflow(id)).status).toBe("pending");
      const answer = (await engine.hold([id])).get(id);
      if (engine.capabilities.haltsPending) {
        expect(answer).toMatchObject({ kind: "accepted" });
        await look.untilStands(id);
        await look.expectStill(id);
        expect(await look.letGo(id)).toBe("completed");
      } else {
        expect(answer).toEqual({ kind: "notYet" });
        await look.untilStatus(id, "completed");
      }
      look.expectRan(id, stepNames(2));
    },
  },
  {
    fact: "queued behind another: it is pending, and what is held before it lets it wait on",
    shows: ["hold.1", "open.1"],
    async run({ engine, look, start, steps }) {
      const script: Script = { does: "queue", key: `queue-${Date.now()}`, count: 2, ms: 600 };
      const head = await start(script);
      await steps.untilStep(head, "step-1");
      const next = await start(script);
      await look.untilStatus(next, "pending");
      const stood = await look.hold(head);
      expect((await engine.statuses([next])).get(next)).toBe("pending");
      await look.expectStill(head);
      expect(steps.of(next)).toEqual([]);
      expect(await look.letGo(head)).toBe("completed");
      await look.untilStatus(next, "completed");
      look.expectRan(head, stepNames(2), stood);
      look.expectRan(next, stepNames(2));
    },
  },
  {
    fact: "what has ended, completed, failed or canceled, is neither held nor let go, and stays as it is",
    shows: ["hold.3", "release.3", "statuses.1", "hold.1"],
    async run({ engine, look, start, cancel }) {
      const completed = await start({ does: "steps", count: 1, ms: 1 });
      const failed = await start({ does: "fail" });
      const canceled = await start({ does: "sleep", ms: 60_000 });
      await look.untilStatus(canceled, "running");
      await cancel(canceled);
      await look.untilStatus(completed, "completed");
      await look.untilStatus(failed, "failed");
      await look.untilStatus(canceled, "canceled");
      const all = [completed, failed, canceled];
      expect([...(await engine.hold(all)).values()]).toEqual(all.map(() => ({ kind: "notYet" })));
      expect([...(await engine.release(all)).values()]).toEqual(all.map(() => ({ kind: "ended" })));
      expect([...(await engine.statuses(all))]).toEqual([]);
      const statuses = (await engine.get(all)).map(({ id, status }) => [id, status] as const);
      expect(Object.fromEntries(statuses)).toEqual({
        [completed]: "completed",
        [failed]: "failed",
        [canceled]: "canceled",
      });
    },
  },
  {
    fact: "what failed says why",
    shows: ["get.1"],
    async run({ look, start }) {
      const id = await start({ does: "fail" });
      expect((await look.untilStatus(id, "failed")).errorMessage).toContain("out of budget");
    },
  },
  {
    fact: "what stands can be canceled, and is let go by that alone",
    shows: ["hold.1", "statuses.1"],
    async run({ engine, look, start, steps, cancel }) {
      const id = await start({ does: "steps", count: 3, ms: 100 });
      await steps.untilStep(id, "step-1");
      await look.hold(id);
      await cancel(id);
      await look.untilStatus(id, "canceled");
      expect((await engine.statuses([id])).has(id)).toBe(false);
    },
  },
];
