/**
 * A tour of the main job, on the real thing: it starts Mission Control with its engine and agents in a temporary folder, brakes
 * an agent that pays refunds, and proves from that agent's own payment ledger what the brake promises. Every claim is checked
 * before it is printed; the exit code is 0 only if all of them held.
 */
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

const root = join(import.meta.dirname, "..");
const refundCount = 20;
const lookMs = 3_000;
const run = promisify(execFile);

interface Payment {
  readonly refundId: string;
  readonly batch: string;
  readonly time: number;
}

interface ControlAnswer {
  readonly newStatus: string;
  readonly auditEntryId: string;
  readonly haltReceipt: {
    readonly timeToStandstill: string;
    readonly standstillTime: string;
    readonly stepsStartedAfterAccept?: number;
    readonly stepsInFlight?: readonly { readonly name: string; readonly outcome: string }[];
  };
}

interface AuditEntry {
  readonly entryId: string;
  readonly sequence: string;
  readonly phase: string;
  readonly action: string;
  readonly reason?: string;
  readonly intentEntryId?: string;
  readonly errorReason?: string;
  readonly principal?: { readonly subject?: string };
}

const dataDir = mkdtempSync(join(tmpdir(), "mc-demo-"));
const [port, agentsPort] = [await freePort(), await freePort()];
const url = `http://127.0.0.1:${port}`;
let server: ChildProcess | undefined;

try {
  await tour();
  console.log("\nEvery claim above was checked. That was Mission Control.");
} catch (error) {
  console.error(`\n✗ ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stopServer();
  rmSync(dataDir, { recursive: true, force: true });
}

async function tour(): Promise<void> {
  chapter("Start: a durable engine, agents that do real work, Mission Control");
  await startServer();
  claim((await fetch(`${url}/readyz`)).ok, `it is ready on ${url}`);
  const id = await startRefunds("demo");
  const workflow = `restate:${id}`;
  await show("list", "--limit", "5");

  chapter("Nobody gets in");
  const stranger = await fetch(`${url}/v1/workflows/${workflow}/pause`, { method: "POST", body: "{}" });
  claim(stranger.status === 401, "a pause without a token is refused (401), before its body is read");

  chapter("Brake: the refunds look wrong");
  await until("the agent to pay three refunds", async () => (await payments()).length >= 3);
  const pause = await json<ControlAnswer>("pause", workflow, "--reason", "refunds look wrong", "--wait", "10s");
  const receipt = pause.haltReceipt;
  claim(
    pause.newStatus === "PAUSED",
    `PAUSED, read back from the engine ${receipt.timeToStandstill} after the request`,
  );
  for (const step of receipt.stepsInFlight ?? []) {
    claim(step.outcome === "FINISHED", `"${step.name}" was in flight: it finished, and its result was kept`);
  }
  claim((receipt.stepsStartedAfterAccept ?? 0) === 0, "no step started after the engine had accepted to halt");

  chapter("The brake holds");
  const before = await payments();
  console.log(`  looking at the agent's payment ledger for ${lookMs / 1000} s …`);
  await delay(lookMs);
  const after = await payments();
  const standstill = Date.parse(receipt.standstillTime);
  claim(
    after.length === before.length,
    `${after.length} refunds paid before, ${after.length} after: not one while it was paused`,
  );
  claim(
    after.every((payment) => payment.time <= standstill),
    "the last payment is older than the standstill",
  );
  await show("trace", workflow);

  chapter("Release: as if nothing had happened");
  const resume = await json<ControlAnswer>("resume", workflow, "--reason", "checked with payments");
  claim(["RUNNING", "COMPLETED"].includes(resume.newStatus), `it is ${resume.newStatus}`);
  await until("the agent to finish", async () => {
    const { workflow: now } = await json<{ workflow: { status: string } }>("get", workflow);
    return now.status === "COMPLETED";
  });
  const all = await payments();
  const once = new Set(all.map((payment) => payment.refundId));
  claim(all.length === refundCount && once.size === refundCount, `${refundCount} refunds, each paid exactly once`);

  chapter("Nothing happens unseen");
  const { entries } = await json<{ entries: AuditEntry[] }>("audit", "list", "--target", workflow, "--limit", "200");
  const story = entries.toSorted((a, b) => Number(a.sequence) - Number(b.sequence));
  const position = (found: (entry: AuditEntry) => boolean) => story.findIndex(found);
  const intent = position((entry) => entry.entryId === pause.auditEntryId);
  claim(story[intent]?.phase === "INTENT", "the pause's intent is in the ledger");
  claim(story[intent]?.reason === "refunds look wrong", "with its reason");
  const engaged = position((entry) => entry.action === "brake.engaged");
  const outcome = position((entry) => entry.phase === "OUTCOME" && entry.intentEntryId === pause.auditEntryId);
  claim(intent < engaged && engaged < outcome, "intent, then brake, then outcome: written before it took effect");
  const denied = await json<{ entries: AuditEntry[] }>("audit", "list", "--phase", "DENIED", "--limit", "50");
  claim(
    denied.entries.some((entry) => entry.errorReason === "TOKEN_MISSING"),
    "the stranger's call is there too",
  );
  await show("audit", "list", "--target", workflow, "--limit", "12");
}

function chapter(title: string): void {
  console.log(`\n== ${title}`);
}

function claim(holds: boolean, what: string): void {
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

async function show(...args: string[]): Promise<void> {
  console.log(`\n  $ mctl ${args.join(" ")}`);
  for (const line of (await mctl(args)).stdout.trimEnd().split("\n")) console.log(`  ${line}`);
  console.log();
}

async function json<Answer>(...args: string[]): Promise<Answer> {
  console.log(`  $ mctl ${args.map((arg) => (/\s/.test(arg) ? JSON.stringify(arg) : arg)).join(" ")}`);
  return JSON.parse((await mctl([...args, "--output", "json"])).stdout) as Answer;
}

/** Resolves once mission-control says where it serves. */
async function startServer(): Promise<void> {
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

async function stopServer(): Promise<void> {
  if (!server || server.exitCode !== null) return;
  const exited = new Promise((resolve) => server?.once("exit", resolve));
  server.kill("SIGTERM");
  await exited;
}

/** Starts the refund agent as its users would: through the engine's ingress. */
function startRefunds(batch: string): Promise<string> {
  const body = JSON.stringify({ batch, from: 1, to: refundCount });
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
async function payments(): Promise<Payment[]> {
  const text = await readFile(join(dataDir, "work/refunds.jsonl"), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Payment)
    .filter((payment) => payment.batch === "demo");
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
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
