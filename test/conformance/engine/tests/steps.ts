import { expect } from "vitest";
import { stepNames } from "../looking.ts";
import type { ConformanceTest } from "../suite.ts";

export const stepTests: readonly ConformanceTest[] = [
  {
    fact: "the steps are those that ran, in their order, each once, with their ends",
    shows: ["observe.1", "stepsFrom"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 4, ms: 120 });
      await steps.untilStep(id, "step-3");
      const during = await look.until("step-3 in the engine", async () => {
        const seen = (await engine.observe([id])).get(id);
        return seen?.steps.some(({ name }) => name === "step-3") ? seen : undefined;
      });
      for (const [index, step] of during.steps.entries()) {
        expect(step.name).toBe(`step-${index + 1}`);
        if (index < during.steps.length - 1) expect(step.endTime).toEqual(expect.any(Date));
      }
      await look.untilStatus(id, "completed");
      const seen = (await engine.observe([id])).get(id);
      expect(seen?.status).toBe("completed");
      expect(seen?.steps.map(({ name }) => name)).toEqual(stepNames(4));
      let before = 0;
      for (const { index, startTime, endTime } of seen?.steps ?? []) {
        expect(index).toBeGreaterThanOrEqual(before);
        before = index + 1;
        expect(endTime?.getTime()).toBeGreaterThanOrEqual(startTime.getTime());
      }
    },
  },
  {
    fact: "a step that ended well is told as such",
    shows: ["observe.1", "trace.1"],
    async run({ engine, look, start }) {
      const id = await start({ does: "steps", count: 2, ms: 10 });
      await look.untilStatus(id, "completed");
      expect((await engine.observe([id])).get(id)?.steps.map(({ succeeded }) => succeeded)).toEqual([true, true]);
      const told = (await engine.trace(id))?.filter(({ kind }) => kind === "step");
      expect(told?.map(({ outcome }) => outcome)).toEqual(["succeeded", "succeeded"]);
    },
  },
  {
    fact: "what stands between two attempts at a step has that step without an end, failing: it runs again",
    shows: ["observe.2"],
    async run({ engine, look, start, cancel }) {
      const id = await start({ does: "retry", failures: 1_000 });
      await look.until("a failed attempt", async () =>
        (await engine.trace(id))?.find(({ kind }) => kind === "attemptFailed"),
      );
      const stood = await look.hold(id);
      const open = stood.steps.filter(({ endTime }) => endTime === undefined);
      expect(open).toMatchObject([{ name: "step-2", succeeded: false, failing: true }]);
      await cancel(id);
    },
  },
  {
    fact: "where it stands, what is seen covers every step that began before",
    shows: ["observe.2"],
    async run({ look, start, steps }) {
      const ids = await Promise.all(Array.from({ length: 6 }, () => start({ does: "steps", count: 40, ms: 10 })));
      await Promise.all(
        ids.map(async (id, index) => {
          // Each at another place.
          await steps.untilStep(id, `step-${index * 3 + 1}`);
          const stood = await look.hold(id);
          await look.expectStill(id);
          const began = new Set(steps.of(id).map(({ step }) => step));
          const seen = new Set(stood.steps.map(({ name }) => name));
          const hidden = [...began].filter((step) => !seen.has(step));
          expect(hidden.length).toBeLessThanOrEqual(stood.hidesStep ? 1 : 0);
          await look.letGo(id);
          look.expectRan(id, stepNames(40), stood);
        }),
      );
    },
  },
  {
    fact: "a trace is a timeline: the oldest first, each step one entry with its start and end, what is in flight open",
    shows: ["trace.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "parallel", ms: 150 });
      await steps.until("three ended", () => steps.of(id).filter(({ event }) => event === "end").length === 3);
      const during = (await engine.trace(id)) ?? [];
      const open = during.filter(({ kind, outcome }) => kind === "step" && outcome === "inFlight");
      for (const entry of open) expect(entry.endTime).toBeUndefined();
      await look.untilStatus(id, "completed");
      const trace = (await engine.trace(id)) ?? [];
      const times = trace.map(({ startTime }) => startTime.getTime());
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      const pairs = trace.filter(({ kind }) => kind === "step");
      expect(pairs.map(({ name }) => name).toSorted()).toEqual(stepNames(5));
      for (const { startTime, endTime } of pairs) {
        expect(endTime?.getTime()).toBeGreaterThanOrEqual(startTime.getTime());
      }
      expect(await engine.trace("nothing of this engine's")).toBeUndefined();
    },
  },
  {
    fact: "a trace tells failed attempts with their messages, and when a sleep is due",
    shows: ["trace.2"],
    async run({ engine, look, start, steps, cancel }) {
      const flaky = await start({ does: "retry", failures: 2 });
      const sleeper = await start({ does: "sleep", ms: 600_000 });
      await steps.untilStep(sleeper, "step-1", "end");
      await look.untilStatus(flaky, "completed");
      const failed = (await engine.trace(flaky))?.filter(({ kind }) => kind === "attemptFailed") ?? [];
      expect(failed.length).toBeGreaterThan(0);
      for (const { errorMessage, outcome } of failed) {
        expect(outcome).toBe("failed");
        expect(errorMessage).toContain("flaky step failed");
      }
      const asleep = await look.until("the sleep", async () =>
        (await engine.trace(sleeper))?.find(({ kind }) => kind === "sleep"),
      );
      expect(asleep).toMatchObject({ outcome: "inFlight", endTime: undefined });
      expect((asleep.dueTime?.getTime() ?? 0) - asleep.startTime.getTime()).toBeGreaterThan(500_000);
      await cancel(sleeper);
    },
  },
  {
    fact: "a trace tells the call of a child with its id",
    shows: ["trace.2"],
    async run({ engine, look, start }) {
      const id = await start({ does: "parent", count: 1, ms: 20 });
      await look.untilStatus(id, "completed");
      const calls = (await engine.trace(id))?.filter(({ childId }) => childId !== undefined);
      expect(calls?.map(({ childId }) => childId)).toEqual([await look.child(id)]);
    },
  },
  {
    fact: "nothing shows what a workflow was given or has answered",
    shows: ["trace.3"],
    async run({ engine, look, start }) {
      const given = "the customer's secret 4711";
      const id = await start({ does: "steps", count: 2, ms: 10, given });
      await look.untilStatus(id, "completed");
      const shown = [await engine.trace(id), await engine.get([id]), [...(await engine.observe([id]))]];
      expect(JSON.stringify(shown)).not.toContain("4711");
    },
  },
  {
    fact: "starting, coming to a stand, going on and ending are each a change",
    shows: ["changedSince.1"],
    async run({ engine, look, start, steps }) {
      const from = new Date(Date.now() - 1_000);
      const id = await start({ does: "steps", count: 3, ms: 200 });
      const seen = async () => (await engine.changedSince(from, 1_000)).find((one) => one.id === id);
      const started = await look.until("that it started", seen);
      await steps.untilStep(id, "step-1");
      await look.hold(id);
      const stood = await look.until("that it stands", async () => {
        const one = await seen();
        return one?.status === "paused" ? one : undefined;
      });
      expect(stood.updateTime.getTime()).toBeGreaterThan(started.updateTime.getTime());
      await look.letGo(id);
      const ended = await look.until("that it ended", async () => {
        const one = await seen();
        return one?.status === "completed" ? one : undefined;
      });
      expect(ended.updateTime.getTime()).toBeGreaterThan(stood.updateTime.getTime());
    },
  },
  {
    fact: "changes come the longest unchanged first, those of the moment itself too, and up to the limit",
    shows: ["changedSince.1"],
    async run({ engine, look, start }) {
      const ids = await Promise.all(Array.from({ length: 4 }, () => start({ does: "steps", count: 1, ms: 1 })));
      for (const id of ids) await look.untilStatus(id, "completed");
      const mine = (await engine.get(ids)).map(({ updateTime }) => updateTime.getTime());
      const earliest = new Date(Math.min(...mine));
      const changes = await engine.changedSince(earliest, 1_000);
      expect(changes.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
      const times = changes.map(({ updateTime }) => updateTime.getTime());
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      expect(times.every((time) => time >= earliest.getTime())).toBe(true);
      expect(await engine.changedSince(earliest, 2)).toHaveLength(2);
    },
  },
];
