import { randomUUID } from "node:crypto";
import { parentPort } from "node:worker_threads";
import { HookCaller } from "../fixture/hook-caller.ts";

/** What the thread is told: so many workflows ask before a step, all at once, each on a connection of its own. */
export interface Burst {
  readonly url: string;
  readonly count: number;
}

/** What it tells once it begins, and when all are answered: how many how, by decision or by what went wrong instead. */
export type Told = "begun" | Readonly<Record<string, number>>;

parentPort?.on("message", async ({ url, count }: Burst) => {
  const answered: Record<string, number> = {};
  const callers: HookCaller[] = [];
  const ask = async () => {
    const caller = await HookCaller.connect(url);
    callers.push(caller);
    return caller.ask({
      event: "pre_step",
      traceId: "t",
      workflowId: randomUUID(),
      step: { name: "refund", agentName: "support", riskLevel: "HIGH" },
      inputs: { text: "x".repeat(2_000) },
    });
  };
  const each = async () => {
    const answer = await ask().catch((error: Error) => error.message);
    answered[answer] = (answered[answer] ?? 0) + 1;
  };
  const all = Promise.all(Array.from({ length: count }, each));
  parentPort?.postMessage("begun" satisfies Told);
  await all;
  for (const caller of callers) caller.close();
  parentPort?.postMessage(answered satisfies Told);
});
