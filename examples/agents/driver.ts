import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ApprovalRequest, approvalsFolder } from "./orchestrator.ts";
import type { Settings } from "./settings.ts";

const tickMs = 2_000;
const startEveryMs = 6_000;
/** Runs that the driver started and that have not ended; with their children about a dozen. */
const mostOpen = 6;
/** How long a request for approval lies there before it is approved. */
const approvalMs = 12_000;
const requestTimeoutMs = 5_000;
/** What the engine writes itself: its storage's log, its own, and that of the agents. */
const logs = ["restate/embedded/log-store/LOG", "logs/restate.log", "logs/agents.log"];

/**
 * Keeps a few agents busy, for somebody to watch and to brake: starts one every few seconds while fewer than 6 are open, and
 * approves what waits for approval. What is open is remembered in `<workDir>/driver.json`. An engine that does not answer is
 * asked again at the next tick. Resolves after the signal.
 */
export async function drive(settings: Settings, ingressSocket: string, signal: AbortSignal): Promise<void> {
  const memory = join(settings.workDir, "driver.json");
  await mkdir(settings.workDir, { recursive: true });
  let { started, open } = await recall(memory);
  let lastStart = 0;

  while (!signal.aborted) {
    try {
      await approve(settings.workDir, ingressSocket);
      const ended = await Promise.all(open.map((id) => hasEnded(ingressSocket, id)));
      open = open.filter((_, i) => !ended[i]);
      if (open.length < mostOpen && Date.now() - lastStart >= startEveryMs) {
        lastStart = Date.now();
        const [path, input] = nextJob(started);
        open.push(await send(ingressSocket, path, input));
        started++;
        await remember(memory, { started, open });
      }
    } catch (error) {
      console.error(`driver: ${(error as Error).message}`);
    }
    await delay(tickMs, undefined, { signal }).catch(() => {});
  }
}

/** The jobs go round; every round takes other rows, packages and mailboxes. */
function nextJob(started: number): [path: string, input: object] {
  const round = Math.floor(started / 6);
  const from = 1 + ((round * 7) % 48);
  switch (started % 6) {
    case 0:
      // All rows: long enough for somebody to find it in a list and to brake it.
      return ["RefundAgent/pay", { batch: `batch-${started}` }];
    case 1:
      return ["LogTriage/triage", { file: logs[round % logs.length], settleMs: 5_000 }];
    case 2:
      return ["LicenseAudit/audit", { from: (round * 10) % 60, limit: 40 }];
    case 3:
      return ["Orchestrator/settle", { from, to: from + 3, pauseMs: 4_000 + 1_000 * (round % 6), packages: 8 }];
    case 4:
      return ["Inbox/alice/answer", { text: "Where is my refund?", thorough: true, followUpMs: 30_000 }];
    default:
      return ["Inbox/alice/answer", { text: "And another question, while you are at it." }];
  }
}

async function recall(memory: string): Promise<{ started: number; open: string[] }> {
  try {
    return JSON.parse(await readFile(memory, "utf8"));
  } catch {
    return { started: 0, open: [] };
  }
}

async function remember(memory: string, state: { started: number; open: string[] }): Promise<void> {
  await writeFile(`${memory}.new`, JSON.stringify(state));
  await rename(`${memory}.new`, memory);
}

async function approve(workDir: string, ingressSocket: string): Promise<void> {
  const folder = join(workDir, approvalsFolder);
  const files = await readdir(folder).catch(() => []);
  for (const file of files.filter((name) => name.endsWith(".json"))) {
    const path = join(folder, file);
    if (Date.now() - (await stat(path)).mtimeMs < approvalMs) continue;
    const { awakeable }: ApprovalRequest = JSON.parse(await readFile(path, "utf8"));
    const { status } = await call(ingressSocket, "POST", `/restate/awakeables/${awakeable}/resolve`, true);
    // 4xx: nobody waits for it any more
    if (status < 500) await rm(path, { force: true });
  }
}

/** The engine keeps the result of what has ended; 470: not yet. */
async function hasEnded(ingressSocket: string, id: string): Promise<boolean> {
  const { status } = await call(ingressSocket, "GET", `/restate/invocation/${id}/output`);
  if (status >= 500 && status !== 500) throw new Error(`the engine answered ${status}`);
  return status !== 470;
}

async function send(ingressSocket: string, path: string, input: object): Promise<string> {
  const { status, body } = await call(ingressSocket, "POST", `/${path}/send`, input);
  if (status >= 300) throw new Error(`POST /${path}/send was answered ${status}: ${body.slice(0, 300)}`);
  return JSON.parse(body).invocationId;
}

function call(
  socketPath: string,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const outgoing = request({ socketPath, method, path, headers, signal }, async (answer) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of answer) chunks.push(chunk);
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") });
      } catch (error) {
        reject(error);
      }
    });
    outgoing.once("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
