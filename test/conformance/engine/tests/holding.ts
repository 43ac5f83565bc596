import { expect } from "vitest";
import { endedStatuses } from "../../../../src/engines/engine.ts";
import { stepNames } from "../looking.ts";
import type { ConformanceTest } from "../suite.ts";

export const holdingTests: readonly ConformanceTest[] = [
  {
    fact: "holds of several, before the stand, at it and after, are undone by one release",
    shows: ["hold.2", "release.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 4, ms: 250 });
      await steps.untilStep(id, "step-2");
      await Promise.all([engine.hold([id]), engine.hold([id]), engine.hold([id, id])]);
      const stood = await look.untilStands(id);
      for (let again = 0; again < 3; again++) expect((await engine.hold([id])).get(id)?.kind).toBe("accepted");
      await look.expectStill(id);
      expect(await look.letGo(id)).toBe("completed");
      look.expectRan(id, stepNames(4), stood);
    },
  },
  {
    fact: "held, let go and held again: it stands once more, and nothing is lost in between",
    shows: ["hold.2", "hold.1", "release.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 5, ms: 200 });
      await steps.untilStep(id, "step-1");
      const first = await look.hold(id);
      await engine.release([id]);
      const before = steps.of(id).length;
      await steps.until("a step after the release", () => steps.of(id).length > before);
      const second = await look.hold(id);
      await look.expectStill(id);
      expect(await look.letGo(id)).toBe("completed");
      look.expectRan(id, stepNames(5), first, second);
    },
  },
  {
    fact: "many are held and let go in one call, each with its answer",
    shows: ["hold.3", "release.3", "hold.4"],
    async run({ engine, look, start, steps }) {
      const ids = await Promise.all(Array.from({ length: 12 }, () => start({ does: "steps", count: 3, ms: 500 })));
      await Promise.all(ids.map((id) => steps.untilStep(id, "step-1")));
      const ended = await start({ does: "steps", count: 1, ms: 1 });
      await look.untilStatus(ended, "completed");
      const answers = await engine.hold([...ids, ended, "nothing of this engine's"]);
      expect(Object.fromEntries([...answers].map(([id, { kind }]) => [id, kind]))).toEqual({
        ...Object.fromEntries(ids.map((id) => [id, "accepted"])),
        [ended]: "notYet",
        "nothing of this engine's": "unknown",
      });
      const stood = await Promise.all(ids.map((id) => look.untilStands(id)));
      const released = await engine.release([...ids, ended, "nothing of this engine's"]);
      expect(Object.fromEntries([...released].map(([id, { kind }]) => [id, kind]))).toEqual({
        ...Object.fromEntries(ids.map((id) => [id, "released"])),
        [ended]: "ended",
        "nothing of this engine's": "unknown",
      });
      await Promise.all(ids.map((id) => look.untilStatus(id, "completed")));
      for (const [index, id] of ids.entries()) look.expectRan(id, stepNames(3), ...stood.slice(index, index + 1));
    },
  },
  {
    fact: "a hold is answered with the time at which the engine took it",
    shows: ["hold.3"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 2, ms: 100 });
      await steps.untilStep(id, "step-1");
      const asked = Date.now();
      const answer = (await engine.hold([id])).get(id);
      expect(answer).toMatchObject({ kind: "accepted", time: expect.any(Number) });
      const time = answer?.kind === "accepted" ? answer.time : 0;
      expect(time).toBeGreaterThanOrEqual(asked);
      expect(time).toBeLessThanOrEqual(Date.now());
      await look.untilStands(id);
      await look.letGo(id);
    },
  },
  {
    fact: "what nobody holds may be released, again and again: it runs on as if it had not been",
    shows: ["release.2"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 3, ms: 80 });
      await steps.untilStep(id, "step-1");
      for (let again = 0; again < 3; again++) expect((await engine.release([id])).get(id)?.kind).toBe("released");
      await look.untilStatus(id, "completed");
      expect((await engine.release([id])).get(id)).toEqual({ kind: "ended" });
      look.expectRan(id, stepNames(3));
    },
  },
  {
    fact: "what is released twice at the same time goes on once",
    shows: ["release.2", "release.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 3, ms: 80 });
      await steps.untilStep(id, "step-1");
      const stood = await look.hold(id);
      await Promise.all([engine.release([id]), engine.release([id]), engine.release([id])]);
      await look.untilStatus(id, "completed");
      look.expectRan(id, stepNames(3), stood);
    },
  },
  {
    fact: "what was paused in another way is not said to be held by a gate; what a gate holds is",
    shows: ["pausedByGate.1", "halt"],
    async run({ engine, look, start, steps, pauseElsewhere }) {
      const id = await start({ does: "steps", count: 2, ms: 150 });
      await steps.untilStep(id, "step-1");
      expect([...(await engine.pausedByGate([id]))]).toEqual([]);
      if (pauseElsewhere) await pauseElsewhere(id);
      else await engine.hold([id]);
      await look.untilStands(id);
      const byGate = pauseElsewhere === undefined && engine.capabilities.halt === "gate";
      expect([...(await engine.pausedByGate([id]))]).toEqual(byGate ? [id] : []);
      await look.letGo(id);
    },
  },
  {
    fact: "a release is taken before the stand: where it takes back, nothing stands; else one more release lets it go",
    shows: ["releaseTakesBack", "release.1"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 3, ms: 300 });
      await steps.untilStep(id, "step-1");
      await engine.hold([id]);
      const seen = await engine.observe([id]);
      await engine.release([id]);
      if (engine.capabilities.releaseTakesBack) {
        const { status } = await look.untilStatus(id, ...endedStatuses, "paused");
        // Where a hold cuts a step off it may have stood for a moment; released it is all the same.
        if (status === "paused") await look.untilStatus(id, "completed");
      } else {
        expect(await look.letGo(id)).toBe("completed");
      }
      const cutsOff = engine.capabilities.stepInFlight === "reruns";
      look.expectRan(id, stepNames(3), ...(cutsOff ? seen.values() : []));
    },
  },
];
