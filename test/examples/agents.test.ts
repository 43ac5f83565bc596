import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startAgents } from "../../src/dev/agents-process.ts";
import { type EmbeddedRestate, startEmbeddedRestate } from "../../src/dev/embedded-restate.ts";
import type { Supervised } from "../../src/dev/supervisor.ts";
import { unixRequest } from "../../src/dev/unix-http.ts";
import { createLog } from "../../src/log.ts";
import { freePort } from "../fixture/free-port.ts";

const log = createLog("silent");
const dataDir = mkdtempSync(join(tmpdir(), "mc-ex-"));
const work = join(dataDir, "work");
let engine: EmbeddedRestate;
let agents: Supervised;

beforeAll(async () => {
  engine = await startEmbeddedRestate({ dataDir, log });
  const { adminSocket, ingressSocket } = engine;
  agents = await startAgents({ dataDir, port: await freePort(), adminSocket, ingressSocket, log, driver: false });
});
afterAll(async () => {
  await agents?.stop();
  await engine?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function post(path: string, body: unknown) {
  const answer = await unixRequest(engine.ingressSocket, "POST", path, { body, signal: AbortSignal.timeout(25_000) });
  return { status: answer.status, body: JSON.parse(answer.body || "null") };
}

const lines = (file: string) =>
  readFileSync(join(work, file), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("LicenseAudit reports on real packages", async () => {
  const { body } = await post("/LicenseAudit/audit", { limit: 5 });
  expect(body.packages).toBe(5);
  const report = readFileSync(join(work, body.report), "utf8");
  expect(report).toContain("5 packages");
  expect(report).toMatch(/\| @\S+ \| \d+\.\d+\.\d+ \| MIT/);
});

test("LogTriage reads the engine's own log, gets over a flaky step, and counts every line once", async () => {
  const text = Array.from(
    { length: 3_000 },
    (_, i) => `2026-11-01T00:00:00Z ${i % 3 === 0 ? "WARN" : "INFO"} line ${i} é`,
  );
  writeFileSync(join(dataDir, "logs", "made.log"), `${text.join("\n")}\n`);
  const made = await post("/LogTriage/triage", { file: "logs/made.log", settleMs: 10 });
  expect(made.body).toMatchObject({ lines: 3_000, levels: { WARN: 1_000, INFO: 2_000 } });

  const { body } = await post("/LogTriage/triage", { settleMs: 10 });
  expect(body.levels.INFO).toBeGreaterThan(5);
  expect(readFileSync(join(work, body.report), "utf8")).toContain("Starting Restate Server");
  const attempts = readdirSync(work).filter((name) => name.endsWith(".attempts"));
  expect(attempts).toHaveLength(2);
  for (const file of attempts) expect(readFileSync(join(work, file), "utf8").trim().split("\n")).toHaveLength(3);
});

test("LogTriage reads nothing but logs below the data directory", async () => {
  symlinkSync("/etc/hosts", join(dataDir, "logs", "link.log"));
  for (const file of ["../../etc/hosts", "/etc/hosts", "logs/link.log", "agents.pid", "logs/none.log"]) {
    const { status, body } = await post("/LogTriage/triage", { file });
    expect([file, status]).toEqual([file, 400]);
    expect(body.message).toContain("Name a log below the data directory");
  }
});

test("RefundAgent pays each refund of its rows exactly once", async () => {
  const { body } = await post("/RefundAgent/pay", { batch: "exactly-once", from: 5, to: 8 });
  expect(body).toMatchObject({ batch: "exactly-once", refunds: 4 });
  const paid = lines("refunds.jsonl").filter((line) => line.batch === "exactly-once");
  expect(paid.map((line) => line.refundId)).toEqual(["RF-2026-0005", "RF-2026-0006", "RF-2026-0007", "RF-2026-0008"]);
  expect(paid.reduce((sum, line) => sum + line.amountCents, 0)).toBe(body.paidCents);
  expect(paid[0]).toMatchObject({ workflowId: expect.stringMatching(/^inv_/), pid: agents.state().pid });
});

test("RefundAgent refuses a range that makes no sense", async () => {
  const { status, body } = await post("/RefundAgent/pay", { from: 9, to: 3 });
  expect(status).toBe(400);
  expect(body.message).toContain("from (9) has to be 1 or more and not above to (3)");
});

test("a stop of the agents in the midst of a payment makes no payment twice", async () => {
  const { body } = await post("/RefundAgent/pay/send", { batch: "stopped", from: 1, to: 4 });
  const paid = () =>
    (existsSync(join(work, "refunds.jsonl")) ? lines("refunds.jsonl") : []).filter((p) => p.batch === "stopped");
  await expect.poll(() => paid().length, { timeout: 10_000, interval: 20 }).toBeGreaterThan(0);
  const back = Promise.withResolvers<void>();
  const off = agents.onState((state) => {
    if (state.status === "ready") back.resolve();
  });
  process.kill(agents.state().pid ?? 0, "SIGTERM"); // its second payment is on its way
  await back.promise;
  off();
  const path = `/restate/invocation/${body.invocationId}/attach`;
  await unixRequest(engine.ingressSocket, "GET", path, { signal: AbortSignal.timeout(20_000) });
  expect(paid().map((line) => line.refundId)).toEqual(["RF-2026-0001", "RF-2026-0002", "RF-2026-0003", "RF-2026-0004"]);
});

test("Orchestrator runs its children, waits for an approval, and settles", async () => {
  const { body } = await post("/Orchestrator/settle/send", {
    from: 1,
    to: 1,
    packages: 2,
    pauseMs: 100,
    customer: "bob",
  });
  const file = join(work, "approvals", `${body.invocationId}.json`);
  await expect.poll(() => existsSync(file), { timeout: 10_000 }).toBe(true);
  const { awakeable, question } = JSON.parse(readFileSync(file, "utf8"));
  expect(question).toContain("Pay refunds 1 to 1?");
  expect(existsSync(join(work, `settlement-${body.invocationId}.json`))).toBe(false);
  await post(`/restate/awakeables/${awakeable}/resolve`, true);
  const attach = `/restate/invocation/${body.invocationId}/attach`;
  const { body: paid } = await unixRequest(engine.ingressSocket, "GET", attach, {
    signal: AbortSignal.timeout(20_000),
  });
  expect(JSON.parse(paid)).toMatchObject({ batch: body.invocationId, refunds: 1 });
  expect(existsSync(join(work, `settlement-${body.invocationId}.json`))).toBe(true);
});

test("Inbox answers a mailbox's messages one after the other and follows up later", async () => {
  const [first, second] = await Promise.all([
    post("/Inbox/carol/answer", { text: "my refund please", followUpMs: 100 }),
    post("/Inbox/carol/answer", { text: "hello" }),
  ]);
  expect([first.body.answered, second.body.answered].sort()).toEqual([1, 2]);
  expect(first.body.topic).toBe("billing");
  const carol = () => lines("inbox.jsonl").filter((line) => line.mailbox === "carol");
  await expect
    .poll(
      () =>
        carol()
          .map((line) => line.event)
          .sort(),
      { timeout: 10_000 },
    )
    .toEqual(["answered", "answered", "followed up"]);
});
