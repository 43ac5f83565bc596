import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type Bench, type Figure, median, rotated } from "./bench.ts";
import type { Called, Calls } from "./callers.ts";
import { startChain } from "./chain-server.ts";

/** Calls at a time. */
const callers = 32;
const kinds = { read: "GetWorkflow", control: "PauseWorkflow" } as const;

/**
 * What identity, roles and Cedar add to a call: the server's own processor time for each call, by the port with its whole chain
 * against the same port, on the same thread, without these three. The ledger is on disk in both, and its cost in both; callers
 * have a thread of their own. No engine is asked, which would only make the difference smaller.
 */
export const chain: Bench = {
  name: "chain",
  about: "a call through the whole chain against the same call without identity, roles and Cedar: the server's time",

  async run({ workflows, repeat }, say) {
    const count = Math.max(callers, workflows);
    const worker = new Worker(join(import.meta.dirname, "callers.ts"));
    const servers = { whole: await startChain(true), without: await startChain(false) };
    const measure = async (name: keyof typeof servers, kind: keyof typeof kinds, calls: number) => {
      const { url, token } = servers[name];
      const before = process.threadCpuUsage();
      worker.postMessage({ url, token, kind, count: calls, callers } satisfies Calls);
      const [{ ms }] = (await once(worker, "message")) as [Called];
      const { user, system } = process.threadCpuUsage(before);
      return { us: (user + system) / calls, ms: median(ms) };
    };
    try {
      const figures: Figure[] = [];
      for (const kind of ["read", "control"] as const) {
        const names = ["whole", "without"] as const;
        // What runs for the first time is compiled while it does.
        for (const name of names) await measure(name, kind, Math.min(count, 2_000));
        const us = { whole: [] as number[], without: [] as number[] };
        const ms = { whole: [] as number[], without: [] as number[] };
        for (let round = 0; round < repeat; round++) {
          for (const name of rotated(names, round)) {
            const measured = await measure(name, kind, count);
            us[name].push(measured.us);
            ms[name].push(measured.ms);
          }
          say(`${kinds[kind]}: round ${round + 1} of ${repeat}`);
        }
        // Pairs were measured side by side: what else the machine did meanwhile befell both.
        const ratios = us.whole.map((one, at) => one / (us.without[at] ?? Number.NaN));
        figures.push(
          { name: `${kinds[kind]}, whole chain`, value: median(us.whole) / 1_000, unit: "ms" },
          { name: `${kinds[kind]}, without`, value: median(us.without) / 1_000, unit: "ms" },
          { name: `${kinds[kind]}: whole / without`, value: median(ratios), unit: "ratio", target: { atMost: 1.25 } },
          {
            name: `${kinds[kind]}: whole / without, as callers see it`,
            value: median(ms.whole) / median(ms.without),
            unit: "ratio",
          },
        );
      }
      return figures;
    } finally {
      await worker.terminate();
      await Promise.all(Object.values(servers).map((server) => server.close()));
    }
  },
};
