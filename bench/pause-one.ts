import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { startTestServer } from "../test/fixture/server.ts";
import { type Bench, median, rotated } from "./bench.ts";
import { startBenchEngine } from "./engine.ts";

/** Pauses that are timed for each contender. */
const runs = 100;
const wait = durationFromMs(20_000);

/** One workflow from the call to the standstill: PauseWorkflow against the engine's own call with polling. */
export const pauseOne: Bench = {
  name: "pause-one",
  about: "one workflow, call to standstill: PauseWorkflow with wait against the engine's PATCH and polling",

  async run({ workflows }, say) {
    const count = Math.min(runs, workflows);
    const engine = await startBenchEngine(count);
    const server = await startTestServer(engine.adminSocket);
    const contenders = {
      pauseWorkflow: async (id: string) => {
        const { haltReceipt } = await server.control.pauseWorkflow({ workflowId: id, reason: "bench", wait });
        if (haltReceipt?.standstillTime === undefined) throw new Error(`${id} was not seen to stand`);
      },
      patch: async (id: string) => {
        await engine.control("pause", id);
        while ((await engine.status(id)) !== "paused");
      },
    };
    const resume = {
      pauseWorkflow: (id: string) => server.control.resumeWorkflow({ workflowId: id, reason: "bench over", wait }),
      patch: (id: string) => engine.control("resume", id),
    };
    try {
      const names = ["pauseWorkflow", "patch"] as const;
      const times = { pauseWorkflow: [] as number[], patch: [] as number[] };
      for (const [round, id] of engine.ids.entries()) {
        for (const name of rotated(names, round)) {
          const began = performance.now();
          await contenders[name](id);
          times[name].push(performance.now() - began);
          await resume[name](id);
          await engine.untilPaused(0);
        }
      }
      say(`${count} pauses each`);
      const [ours, bare] = [median(times.pauseWorkflow), median(times.patch)];
      return [
        { name: "PauseWorkflow with wait", value: ours, unit: "ms" },
        { name: "PATCH pause and polling", value: bare, unit: "ms" },
        { name: "PauseWorkflow / PATCH", value: ours / bare, unit: "ratio" },
      ];
    } finally {
      await server.stop();
      await engine.stop();
    }
  },
};
