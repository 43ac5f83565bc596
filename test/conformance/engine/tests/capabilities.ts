import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { stepNames } from "../looking.ts";
import type { ConformanceTest } from "../suite.ts";

export const capabilityTests: readonly ConformanceTest[] = [
  {
    fact: "the step in flight finishes and is kept, or is cut off and runs again, as declared",
    shows: ["stepInFlight", "haltsAt", "observe.2"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 2, ms: 1_500 });
      await steps.untilStep(id, "step-1");
      await look.until("step-1 in the engine", async () =>
        (await engine.observe([id])).get(id)?.steps.find(({ name }) => name === "step-1"),
      );
      const stood = await look.hold(id);
      const { haltsAt, stepInFlight } = engine.capabilities;
      const finished = steps.of(id, "step-1").some(({ event }) => event === "end");
      // In the middle of a step: it stands while the worker still carries it out.
      expect(finished).toBe(haltsAt !== "anywhere");
      const [step] = stood.steps;
      expect({ name: step?.name, ended: step?.endTime !== undefined }).toEqual({
        name: "step-1",
        ended: stepInFlight === "finishes",
      });
      await steps.untilStep(id, "step-1", "end");
      expect(await look.letGo(id)).toBe("completed");
      const times = steps.of(id, "step-1").filter(({ event }) => event === "start").length;
      expect(times).toBe(stepInFlight === "finishes" ? 1 : 2);
      look.expectRan(id, stepNames(2), stood);
    },
  },
  {
    fact: "what sleeps comes to a stand in its sleep, or when it wakes, as declared; its timer runs on, as declared",
    shows: ["haltsAt", "timersRunOn", "timers.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "sleep", ms: 1_500 });
      await steps.untilStep(id, "step-1", "end");
      const asleep = await look.until("the sleep in the trace", async () =>
        (await engine.trace(id))?.find(({ kind }) => kind === "sleep"),
      );
      const due = (asleep.dueTime ?? new Date(0)).getTime();
      expect(await engine.timers([id])).toEqual([{ id, dueTime: new Date(due), what: expect.any(String) }]);
      await look.hold(id);
      const stoodTime = Date.now();
      if (engine.capabilities.haltsAt === "beforeStep") expect(stoodTime).toBeGreaterThanOrEqual(due);
      const { timersRunOn } = engine.capabilities;
      if (stoodTime < due) {
        expect((await engine.timers([id])).map((timer) => timer.id)).toEqual(timersRunOn ? [id] : []);
      }
      await delay(Math.max(0, due - Date.now()) + 50);
      await look.expectStill(id);
      // What is due already does not run on any more.
      expect(await engine.timers([id])).toEqual([]);
      const released = Date.now();
      expect(await look.letGo(id)).toBe("completed");
      if (timersRunOn) {
        const [next] = steps.of(id, "step-2");
        expect((next?.time ?? Number.POSITIVE_INFINITY) - released).toBeLessThan(1_500);
      }
      look.expectRan(id, stepNames(2));
    },
  },
  {
    fact: "the children of what is held are held with it, or run on, as declared",
    shows: ["pausesChildren"],
    async run({ engine, look, start }) {
      const id = await start({ does: "parent", count: 6, ms: 150 });
      const child = await look.child(id);
      await engine.hold([id]);
      if (engine.capabilities.pausesChildren) {
        await look.untilStands(child);
        await look.expectStill(child);
      } else {
        await look.untilStatus(child, "completed");
      }
      const stood = await look.untilStands(id);
      expect(await look.letGo(id)).toBe("completed");
      look.expectRan(id, stepNames(2), stood);
      look.expectRan(child, stepNames(6));
    },
  },
];
