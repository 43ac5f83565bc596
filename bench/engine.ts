import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startEmbeddedRestate } from "../src/dev/embedded-restate.ts";
import { registerDeployment } from "../src/dev/register-deployment.ts";
import { unixRequest } from "../src/dev/unix-http.ts";
import { createLog } from "../src/log.ts";
import type { Said } from "./agents.ts";

/** What is too slow for a bench is an error, ms. */
const patience = { call: 30_000, state: 120_000 } as const;
/** Between two looks at the engine while something is awaited, ms. */
const pollMs = 20;
/** How many ids the engine's batch endpoint takes. */
const batchSize = 1_000;
/** Workflows of one agents' process: the SDK gets slower with every run that it began or took up again. */
const perProcess = 2_500;
/** Starts under way at a time. */
const starters = 32;

/** The real engine with workflows that await, and its own API to measure against. */
export interface BenchEngine {
  readonly adminSocket: string;
  /** The engine's own ids of the workflows that were started, all of them. */
  readonly ids: readonly string[];
  /** The engine's own ids of the workflows of a type that have not ended. */
  open(type: string): Promise<string[]>;
  /** Pauses or resumes by the engine's own batch endpoint; resolves when all batches were answered. */
  batch(action: "pause" | "resume", ids: readonly string[]): Promise<void>;
  /** Pauses or resumes one by the documented call. */
  control(action: "pause" | "resume", id: string): Promise<void>;
  /** The engine's own word for the status of one. */
  status(id: string): Promise<string | undefined>;
  /** Resolves once so many are paused, by a count in the engine. */
  untilPaused(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the engine in a temporary folder, agents beside it, and so many workflows; all of them await already. */
export async function startBenchEngine(workflows: number): Promise<BenchEngine> {
  const dataDir = mkdtempSync(join(tmpdir(), "mc-bench-"));
  const engine = await startEmbeddedRestate({
    dataDir,
    log: createLog("silent"),
    // All of them run at the same time. By default 4,000 do: the engine accepts a pause of those that wait for a place, and
    // does not stand.
    settings: {
      RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT: String(Math.max(1_000, workflows)),
      RESTATE_WORKER__INVOKER__MEMORY_LIMIT: "1GB",
    },
  });
  const { adminSocket, ingressSocket } = engine;
  const admin = async (method: "POST" | "PATCH", path: string, body?: unknown): Promise<string> => {
    const send = () => unixRequest(adminSocket, method, path, { body, signal: AbortSignal.timeout(patience.call) });
    // A connection that is kept may be reset when it is used again; all that is asked here may be asked twice.
    const answer = await send().catch((error) => (error.code === "ECONNRESET" ? send() : Promise.reject(error)));
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.slice(0, 500)}`);
    return answer.body;
  };
  const query = async <Row>(sql: string): Promise<Row[]> =>
    JSON.parse(await admin("POST", "/query", { query: sql })).rows;
  const countOf = async (where: string): Promise<number> => {
    const [row] = await query<{ n: number }>(`SELECT count(*) AS n FROM ${where}`);
    return row?.n ?? 0;
  };
  const agents: ChildProcess[] = [];
  const stop = async () => {
    await engine.stop();
    for (const process of agents) process.kill("SIGKILL");
    rmSync(dataDir, { recursive: true, force: true });
  };
  const begin = async () => {
    const ids: string[] = [];
    for (let left = workflows; left > 0; left -= perProcess) {
      // Runs stay with the deployment that was the latest when they began.
      const process = fork(join(import.meta.dirname, "agents.ts"), { execArgv: [] });
      agents.push(process);
      const { port } = await hear<{ port: number }>(process);
      await registerDeployment(adminSocket, `http://127.0.0.1:${port}`, AbortSignal.timeout(patience.call));
      ids.push(...(await start(ingressSocket, Math.min(left, perProcess))));
    }
    await until(`${workflows} workflows to await`, async () => {
      let awaiting = 0;
      for (const process of agents) {
        process.send("how many");
        awaiting += (await hear<{ awaiting: number }>(process)).awaiting;
      }
      return awaiting === workflows && (await countOf("sys_invocation WHERE status = 'running'")) === workflows;
    });
    return ids;
  };

  return {
    adminSocket,
    ids: await begin().catch(async (error) => {
      await stop();
      throw error;
    }),
    async open(type) {
      const rows = await query<{ id: string }>(
        `SELECT id FROM sys_invocation_status WHERE target_service_name = '${type}' AND status <> 'completed'`,
      );
      return rows.map(({ id }) => id);
    },
    async batch(action, some) {
      for (let at = 0; at < some.length; at += batchSize) {
        const body = { invocation_ids: some.slice(at, at + batchSize) };
        const answer = JSON.parse(await admin("POST", `/internal/invocations_batch_operations/${action}`, body));
        if (answer.failed?.length > 0) throw new Error(`${action}: ${JSON.stringify(answer.failed[0])}`);
      }
    },
    async control(action, id) {
      await admin("PATCH", `/invocations/${id}/${action}`);
    },
    async status(id) {
      const [row] = await query<{ status: string }>(`SELECT status FROM sys_invocation_status WHERE id = '${id}'`);
      return row?.status;
    },
    untilPaused: (count) =>
      until(
        `${count} to be paused`,
        async () => (await countOf("sys_invocation_status WHERE status = 'paused'")) === count,
      ),
    stop,
  };
}

async function start(ingressSocket: string, workflows: number): Promise<string[]> {
  const ids: string[] = [];
  let left = workflows;
  const starter = async () => {
    while (left-- > 0) {
      const signal = AbortSignal.timeout(patience.call);
      const answer = await unixRequest(ingressSocket, "POST", "/Awaiting/run/send", { body: {}, signal });
      if (answer.status >= 300) throw new Error(`a workflow did not start: ${answer.status} ${answer.body}`);
      ids.push(JSON.parse(answer.body).invocationId);
    }
  };
  await Promise.all(Array.from({ length: starters }, starter));
  return ids;
}

async function hear<Message extends Said>(agents: ChildProcess): Promise<Message> {
  const [said] = await once(agents, "message", { signal: AbortSignal.timeout(patience.call) });
  return said;
}

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patience.state;
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`waited ${patience.state} ms in vain for ${what}`);
    await delay(pollMs);
  }
}
