import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Brakes } from "../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { HookCaller } from "../test/fixture/hook-caller.ts";
import { type Bench, type Figure, median, percentile, rotated } from "./bench.ts";
import { decisionFigures } from "./gate-decision.ts";
import type { Doors, Memory, Served } from "./gate-process.ts";
import { propagationFigures } from "./gate-propagation.ts";

/** Workflows that ask at the same time, each on its connection. */
const concurrent = [1, 100, 5_000] as const;
/** Connections made at a time. */
const wave = 250;
/** Requests of one round, and those before it: what runs for the first time is compiled while it does. */
const hooks = { most: 20_000, fewest: 200, warm: 2_000 } as const;
/** Requests that are held at once. With fewer, what a request takes is lost in what the process does. */
const held = { most: 5_000, fewest: 1_000 } as const;
const gates = 1_000;
/** Between two looks at how many stand, ms. */
const pollMs = 50;

/** What a gate costs: its yes in the process, a hook's round trip, a request that is held, and a new brake's way to all gates. */
export const gate: Bench = {
  name: "gate",
  about:
    "a gate's yes in its process, hooks beside a bare node:http that answers ALLOW, what is held, a brake's way to 1,000 gates",

  async run({ workflows, repeat }, say) {
    const decisions = await decisionFigures(repeat);
    say("decisions in process are measured");
    const roundTrips = await roundTripFigures(workflows, repeat, say);
    // A process that has done something else has memory that it does not give back.
    const rest = await withServer("gate", async (server) => {
      const memory = await memoryFigures(server, workflows);
      say("memory is measured");
      return [...memory, ...(await propagationFigures(server.doors, Math.min(gates, workflows), repeat))];
    });
    return [...decisions, ...roundTrips, ...rest];
  },
};

interface Server {
  readonly doors: Doors;
  memory(): Promise<Memory>;
}

async function withServer<T>(served: Served, use: (server: Server) => Promise<T>): Promise<T> {
  const process = fork(join(import.meta.dirname, "gate-process.ts"), [served], { execArgv: ["--expose-gc"] });
  const hear = async <Said>(): Promise<Said> => {
    const [said] = await once(process, "message", { signal: AbortSignal.timeout(30_000) });
    return said;
  };
  try {
    const doors = await hear<Doors>();
    return await use({
      doors,
      memory() {
        process.send("memory");
        return hear<Memory>();
      },
    });
  } finally {
    await stop(process);
  }
}

async function stop(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  process.disconnect();
  await once(process, "exit");
}

function roundTripFigures(workflows: number, repeat: number, say: (line: string) => void): Promise<Figure[]> {
  return withServer("gate", (ours) =>
    withServer("bare", async (bare) => {
      const urls = { gate: ours.doors.hookUrl, bare: bare.doors.hookUrl };
      const names = ["gate", "bare"] as const;
      const count = Math.max(hooks.fewest, Math.min(hooks.most, workflows));
      for (const name of names) await roundTrips(urls[name], 1, Math.min(count, hooks.warm));
      const figures: Figure[] = [];
      for (const size of new Set(concurrent.map((many) => Math.min(many, workflows)))) {
        const ms = { gate: [] as number[], bare: [] as number[] };
        const slow = { gate: [] as number[], bare: [] as number[] };
        for (let round = 0; round < repeat; round++) {
          for (const name of rotated(names, round)) {
            const measured = await roundTrips(urls[name], size, Math.max(count, size * 2));
            ms[name].push(median(measured));
            slow[name].push(percentile(measured, 99));
          }
          say(`hooks, ${size} at a time: round ${round + 1} of ${repeat}`);
        }
        // Pairs were measured side by side: what else the machine did meanwhile befell both.
        const ratios = ms.gate.map((one, at) => one / (ms.bare[at] ?? Number.NaN));
        const about = `hook, ${size} at a time:`;
        figures.push(
          { name: `${about} p50`, value: median(ms.gate), unit: "ms" },
          { name: `${about} p99`, value: median(slow.gate), unit: "ms" },
          { name: `${about} bare, p50`, value: median(ms.bare), unit: "ms" },
          { name: `${about} bare, p99`, value: median(slow.bare), unit: "ms" },
          { name: `${about} gate / bare`, value: median(ratios), unit: "ratio" },
        );
      }
      return figures;
    }),
  );
}

/** So many workflows that take one step after the other, until so many hooks were answered; each hook's time, ms. */
async function roundTrips(hookUrl: string, size: number, count: number): Promise<number[]> {
  const callers = await connected(hookUrl, size);
  const ms: number[] = [];
  let left = count;
  const run = async (caller: HookCaller) => {
    const workflowId = randomUUID();
    for (let n = 0; left > 0; n++) {
      left--;
      const hook = hookOf(n % 2 === 0 ? "pre_step" : "post_step", workflowId, `step ${n >> 1}`);
      const began = performance.now();
      const decision = await caller.ask(hook);
      ms.push(performance.now() - began);
      if (decision !== "ALLOW") throw new Error(`a hook that no brake holds was answered ${decision}`);
    }
  };
  try {
    await Promise.all(callers.map(run));
    return ms;
  } finally {
    for (const caller of callers) caller.close();
  }
}

/** What the server takes for each request that it holds, on its connection. */
async function memoryFigures({ doors, memory }: Server, workflows: number): Promise<Figure[]> {
  const count = Math.max(held.fewest, Math.min(held.most, workflows));
  const transport = createGrpcTransport({ baseUrl: doors.url });
  const [brakes, control] = [createClient(Brakes, transport), createClient(MissionControl, transport)];
  const options = { headers: { authorization: `Bearer ${doors.token}` } };
  const { brake } = await brakes.engageBrake({ selector: { everything: true }, reason: "bench" }, options);
  const before = await memory();
  const callers = await connected(doors.hookUrl, count);
  try {
    const answers = callers.map((caller) => caller.ask(hookOf("pre_step", randomUUID(), "pay")));
    const all = Promise.all(answers);
    let standing = 0;
    while (standing < count) {
      await delay(pollMs);
      standing = (await control.getHealth({}, options)).pausedWorkflows;
    }
    const after = await memory();
    await brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "bench over" }, options);
    if ((await all).some((decision) => decision !== "ALLOW")) throw new Error("a release did not let all go");
    const each = (key: keyof Memory) => (after[key] - before[key]) / count / 1024;
    return [
      { name: "requests held at once", value: count, unit: "count" },
      { name: "a held request: resident memory", value: each("resident"), unit: "KiB" },
      { name: "a held request: heap and what it keeps", value: each("used"), unit: "KiB" },
    ];
  } finally {
    for (const caller of callers) caller.close();
  }
}

async function connected(hookUrl: string, size: number): Promise<HookCaller[]> {
  const callers: HookCaller[] = [];
  while (callers.length < size) {
    const next = Array.from({ length: Math.min(wave, size - callers.length) }, () => HookCaller.connect(hookUrl));
    callers.push(...(await Promise.all(next)));
  }
  return callers;
}

function hookOf(event: "pre_step" | "post_step", workflowId: string, step: string): object {
  return {
    event,
    traceId: workflowId,
    workflowId,
    step: { name: step, stepType: "capability", capabilityId: "io.pay", agentName: "support", riskLevel: "HIGH" },
    inputs: { text: "x".repeat(500) },
  };
}
