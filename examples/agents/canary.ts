import { setTimeout as delay } from "node:timers/promises";
import * as restate from "@restatedev/restate-sdk";
import { stepOptions } from "./options.ts";

const stepMs = 50;

/** Takes 40 steps of 50 ms and does nothing: for drills of the brake (`mctl brake drill`), which need something to brake. */
export function canary() {
  return restate.service({
    name: "Canary",
    handlers: {
      run: async (ctx: restate.Context) => {
        for (let step = 1; step <= 40; step++) await ctx.run(`step ${step} of 40`, () => delay(stepMs));
      },
    },
    // Drills may come every minute, and nobody reads the journal of one from yesterday.
    options: { ...stepOptions, journalRetention: { minutes: 30 } },
    metadata: { owner: "sre-team", team: "sre", risk: "low" },
  });
}
