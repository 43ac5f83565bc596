import { expect } from "vitest";
import { stepNames } from "../looking.ts";
import type { ConformanceTest } from "../suite.ts";
import { reads } from "./faults.ts";

export const crashTests: readonly ConformanceTest[] = [
  {
    fact: "killed and started again: what stood still stands, what had not come to a stand does where it is declared, all goes on",
    shows: ["outlastsRestart", "hold.4", "observe.1", "probe.1"],
    async run({ engine, look, start, steps, crash }) {
      const stands = await start({ does: "steps", count: 3, ms: 200 });
      await steps.untilStep(stands, "step-1");
      const stood = await look.hold(stands);
      const runs = await start({ does: "steps", count: 3, ms: 2_000 });
      await steps.untilStep(runs, "step-1");
      await look.until("step-1 in the engine", async () =>
        (await engine.observe([runs])).get(runs)?.steps.find(({ name }) => name === "step-1"),
      );
      const before = await engine.observe([stands]);
      await engine.hold([runs]);
      await crash();
      await look.until("its answer", () => engine.probe().catch(() => undefined));
      for (const [, read] of reads) await read(engine, [stands, runs]);
      const { outlastsRestart } = engine.capabilities;
      if (outlastsRestart !== "none") {
        await look.untilStands(stands);
        await look.expectStill(stands);
        expect((await engine.observe([stands])).get(stands)?.steps).toEqual(before.get(stands)?.steps);
      }
      if (outlastsRestart === "accepted") await look.untilStands(runs);
      else await engine.hold([stands, runs]);
      const again = await look.untilStands(runs);
      await look.expectStill(runs);
      expect(await look.letGo(stands)).toBe("completed");
      expect(await look.letGo(runs)).toBe("completed");
      look.expectRan(stands, stepNames(3), stood);
      // The step that was in flight when the engine went down runs once more, with or without a hold.
      const cut = { ...again, steps: [], hidesStep: true };
      look.expectRan(runs, stepNames(3), again, cut);
    },
  },
];
