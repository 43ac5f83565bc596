import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { chapter, claim, dataDir, json, payments, show, startRefunds, startServer, until, url } from "./stage.ts";

const examples = join(import.meta.dirname, "..");
/** Enough that none has ended before it is braked, also on a busy machine. */
const [refundCount, runs, steps, stepMs] = [40, 3, 60, 400];
const lookMs = 3_000;
const types = "RefundAgent,ai-first,TypeScriptRefunds";

/** A runtime of its own, in its own process. */
interface Runtime {
  readonly engine: string;
  readonly child: ChildProcess;
  /** The steps that it has taken, each as "workflow step", from its own file. */
  taken(): string[];
}

interface Listed {
  readonly workflows?: readonly { readonly workflowId: string; readonly status: string }[];
}

interface Previewed {
  readonly engines: readonly { readonly engine: string; readonly matched?: number }[];
}

/** In JSON a number that is 0 is left out. */
interface Braked {
  readonly brake: {
    readonly brakeId: string;
    readonly receipt: {
      readonly standing?: number;
      readonly stepsStartedAfterAccept?: number;
      readonly gates?: readonly { readonly gate: string; readonly ackTime?: string }[];
    };
  };
}

/** One brake over runs on a durable engine, of a runtime that asks by HTTP hooks, and of an agent that asks by the gate's stream. */
export async function everyEngine(): Promise<void> {
  const runtimes: Runtime[] = [];
  try {
    await tour(runtimes);
  } finally {
    for (const { child } of runtimes) child.kill("SIGKILL");
  }
}

async function tour(runtimes: Runtime[]): Promise<void> {
  chapter("Start: three kinds of run");
  await startServer();
  const refunds = `restate:${await startRefunds("demo", refundCount)}`;
  console.log(`  a refund agent on Restate, ${refunds}`);
  runtimes.push(typescriptAgent());
  console.log(`  ${runs} runs of an agent in TypeScript without an engine, which asks at its gate`);
  if (spawnSync("python3", ["--version"]).status === 0) {
    runtimes.push(aiFirst());
    console.log(`  ${runs} runs of the AI-First Runtime (its double), which asks by its governance hooks`);
  } else {
    console.log("  there is no python3 here: the AI-First Runtime's double is left out");
  }
  await until("each of them to have begun its work", async () => {
    for (const { engine, child } of runtimes) if (child.exitCode !== null) throw new Error(`${engine} has ended`);
    return (await payments()).length >= 2 && runtimes.every(({ taken }) => workflowsOf(taken()).size === runs);
  });

  chapter("One brake, no engine named");
  await show("brake", "preview", "--type", types);
  const { engines } = await json<Previewed>("brake", "preview", "--type", types);
  const foreseen = (name: string) => engines.find(({ engine }) => engine === name)?.matched ?? 0;
  claim(foreseen("restate") >= 1, "the preview counts the refund agent on restate");
  for (const { engine } of runtimes) claim(foreseen(engine) === runs, `the preview counts ${runs} on ${engine}`);
  const engage = ["brake", "engage", "--type", types, "--reason", "amounts look wrong", "--gate-wait", "10s"];
  const { brake } = await json<Braked>(...engage, "--wait", "30s");
  const held = await listed("PAUSED");
  claim(held.has(refunds), "the refund agent on Restate is PAUSED");
  for (const { engine } of runtimes) {
    claim([...held].filter((id) => id.startsWith(`${engine}:`)).length === runs, `all ${runs} on ${engine} are PAUSED`);
  }
  const before = [(await payments()).length, ...runtimes.map(({ taken }) => taken().length)];
  console.log(`  looking at what each of them does for ${lookMs / 1000} s …`);
  await delay(lookMs);
  const after = [(await payments()).length, ...runtimes.map(({ taken }) => taken().length)];
  claim(before.join() === after.join(), `not one step was taken on any of them (${after.join(", ")} before and after)`);
  await show("brake", "get", brake.brakeId);
  const {
    standing = 0,
    stepsStartedAfterAccept = 0,
    gates = [],
  } = (await json<Braked>("brake", "get", brake.brakeId)).brake.receipt;
  const ours = 1 + runs * runtimes.length;
  claim(standing >= ours, `the receipt: ${standing} are standing, ${ours} of them from here`);
  claim(stepsStartedAfterAccept === 0, "the receipt: no step started after the engines had accepted to halt");
  claim(gates.length > 0 && gates.every(({ ackTime }) => ackTime), `the receipt: ${gates.length} gates, all confirmed`);

  chapter("Release: as if nothing had happened");
  await json("brake", "release", brake.brakeId, "--reason", "they are right");
  for (const { engine, child, taken } of runtimes) {
    if (child.exitCode === null) await once(child, "exit", { signal: AbortSignal.timeout(60_000) });
    claim(child.exitCode === 0, `${engine}: the process has ended well`);
    const all = taken();
    const wanted = runs * steps;
    claim(all.length === wanted && new Set(all).size === wanted, `${engine}: ${wanted} steps, each taken exactly once`);
  }
  await until("the refund agent to finish", async () => (await payments()).length >= refundCount);
  await until("all of them to be COMPLETED", async () => {
    const ended = [...(await listed("COMPLETED"))];
    const on = (name: string) => ended.filter((id) => id.startsWith(`${name}:`)).length;
    return ended.includes(refunds) && runtimes.every(({ engine }) => on(engine) === runs);
  });
  const paid = (await payments()).map(({ refundId }) => refundId);
  claim(
    new Set(paid).size === refundCount && paid.length === refundCount,
    `${refundCount} refunds, each paid exactly once`,
  );
}

function aiFirst(): Runtime {
  const file = join(dataDir, "ai-first.steps");
  const hook = `${url}/v1/gates/ai-first/${token("ai-first")}`;
  const args = [hook, 600_000, "DENY", runs, steps, stepMs, file].map(String);
  const child = spawn("python3", [join(examples, "ai-first/runtime.py"), ...args], { stdio: "ignore" });
  return { engine: "ai-first", child, taken: () => lines(file).map((line) => line.split(" ").slice(0, 2).join(" ")) };
}

function typescriptAgent(): Runtime {
  const file = join(dataDir, "agents.jsonl");
  const args = [runs, steps, stepMs, file].map(String);
  const child = spawn(process.execPath, [join(examples, "typescript-agent/main.ts"), ...args], {
    stdio: "ignore",
    env: { ...process.env, GATE_URL: url, GATE_TOKEN: token("agents") },
  });
  const taken = () =>
    lines(file)
      .map((line) => JSON.parse(line) as { workflow: string; step: string })
      .map(({ workflow, step }) => `${workflow} ${step}`);
  return { engine: "agents", child, taken };
}

/** The token that dev mode has made for runtimes of that engine. */
function token(engine: string): string {
  return readFileSync(join(dataDir, `${engine}.token`), "utf8").trim();
}

function lines(file: string): string[] {
  return readFileSync(file, { encoding: "utf8", flag: "a+" })
    .split("\n")
    .filter((line) => line !== "");
}

function workflowsOf(taken: readonly string[]): Set<string | undefined> {
  return new Set(taken.map((step) => step.split(" ")[0]));
}

async function listed(status: string): Promise<Set<string>> {
  const { workflows = [] } = await json<Listed>("list", "--status", status, "--type", types, "--all");
  return new Set(workflows.map(({ workflowId }) => workflowId));
}
