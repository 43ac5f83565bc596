/** What the tours stand on: Mission Control in a temporary folder, mctl against it, and claims that are checked. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "../..");
export const refundCount = 20;
const run = promisify(execFile);

interface Payment {
  readonly refundId: string;
  readonly batch: string;
  readonly time: number;
}

export const dataDir = mkdtempSync(join(tmpdir(), "mc-demo-"));
const [port, agentsPort] = [await freePort(), await freePort()];
export const url = `http://127.0.0.1:${port}`;
let server: ChildProcess | undefined;

export function chapter(title: string): void {
  console.log(`\n== ${title}`);
}

export function claim(holds: boolean, what: string): void {
  if (!holds) throw new Error(`this did not hold: ${what}`);
  console.log(`  ✓ ${what}`);
}

function mctl(args: readonly string[]) {
  const connection = ["--server", url, "--data-dir", dataDir];
  return run(process.execPath, [join(root, "bin/mctl.js"), ...args, ...connection], {
    env: { ...process.env, COLUMNS: "110" },
    maxBuffer: 16 << 20,
  });
}

export async function show(...args: string[]): Promise<void> {
  console.log(`\n  $ mctl ${args.join(" ")}`);
  for (const line of (await mctl(args)).stdout.trimEnd().split("\n")) console.log(`  ${line}`);
  console.log();
}

export async function json<Answer>(...args: string[]): Promise<Answer> {
  console.log(`  $ mctl ${args.map((arg) => (/\s/.test(arg) ? JSON.stringify(arg) : arg)).join(" ")}`);
  return JSON.parse((await mctl([...args, "--output", "json"])).stdout) as Answer;
}

/** Resolves once mission-control says where it serves. */
export async function startServer(): Promise<void> {
  const args = [
    "src/main.ts",
    "dev",
    "--data-dir",
    dataDir,
    "--port",
    String(port),
    "--agents-port",
    String(agentsPort),
  ];
  server = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<never>((_, reject) => {
    server?.once("exit", (code) => reject(new Error(`mission-control ended with ${code} before it was ready`)));
  });
  exited.catch(() => undefined);
  const serving = (async () => {
    for await (const line of createInterface({ input: server?.stdout ?? createReadStream("/dev/null") })) {
      if (line.includes(" serves ")) return;
    }
  })();
  await Promise.race([serving, exited]);
}

/** Ends all that was started, and leaves nothing behind. */
export async function clear(): Promise<void> {
  if (server && server.exitCode === null) {
    const exited = new Promise((resolve) => server?.once("exit", resolve));
    server.kill("SIGTERM");
    await exited;
  }
  rmSync(dataDir, { recursive: true, force: true });
}

/** Starts the refund agent as its users would: through the engine's ingress. */
export function startRefunds(batch: string, to = refundCount): Promise<string> {
  const body = JSON.stringify({ batch, from: 1, to });
  return new Promise((resolve, reject) => {
    const req = request({
      socketPath: join(dataDir, "restate/embedded/ingress.sock"),
      method: "POST",
      path: "/RefundAgent/pay/send",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    req.on("error", reject);
    req.on("response", async (res) => {
      const text = (await res.toArray()).join("");
      if (res.statusCode === 202 || res.statusCode === 200)
        resolve((JSON.parse(text) as { invocationId: string }).invocationId);
      else reject(new Error(`the engine refused to start the agent: ${res.statusCode} ${text}`));
    });
    req.end(body);
  });
}

/** What the agent has paid: its own append-only ledger, which Mission Control never touches. */
export async function payments(): Promise<Payment[]> {
  const text = await readFile(join(dataDir, "work/refunds.jsonl"), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Payment)
    .filter((payment) => payment.batch === "demo");
}

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  console.log(`  waiting for ${what} …`);
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited 30 s in vain for ${what}`);
    await delay(200);
  }
}

/** Below those that the system hands out by itself: before we listen there, somebody's outgoing connection could have got it. */
async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(20_000, 32_000);
    const probe = createServer().listen(port, "127.0.0.1");
    const free = await once(probe, "listening").then(
      () => true,
      () => false,
    );
    probe.close();
    if (free) return port;
  }
  throw new Error("no free port of 127.0.0.1 found between 20000 and 32000");
}
