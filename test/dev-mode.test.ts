import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test, vi } from "vitest";
import { AuditEntrySchema } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { processIdentity } from "../src/dev/pid-file.ts";
import { createDevDirectory, type DevDirectory, type Spawned, until } from "./fixture/dev-process.ts";
import { freePort } from "./fixture/free-port.ts";
import { createTestIssuer } from "./fixture/issuer.ts";

interface Control {
  readonly newStatus: string;
  readonly brakeId: string;
  readonly auditEntryId: string;
}
interface Workflow {
  readonly workflowId: string;
  readonly status: string;
  readonly holds?: readonly { readonly brakeId: string }[];
}
interface AuditEntry {
  readonly entryId: string;
  readonly phase: string;
  readonly action: string;
  readonly intentEntryId?: string;
  readonly resultCode?: string;
  readonly message?: string;
}

// Several starts each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 });

let directory: DevDirectory;
afterEach(() => directory?.remove());

const pathOf = (id: string, action = "") => `/v1/workflows/${encodeURIComponent(id)}${action}`;
const pause = (id: string, wait: string, signal?: AbortSignal) =>
  directory.rest<Control>(pathOf(id, "/pause"), { reason: "test", wait }, signal);
const resume = (id: string) => directory.rest<Control>(pathOf(id, "/resume"), { reason: "test", wait: "10s" });
const get = async (id: string) => (await directory.rest<Workflow>(pathOf(id))).body;
const untilStatus = (id: string, status: string, timeoutMs?: number) =>
  until(`${id} is ${status}`, async () => (await get(id)).status === status, timeoutMs);
/** Starts the refund agent, and resolves when it has paid so many: the next payment has then just begun. */
async function paying(batch: string, to: number, paid: number): Promise<string> {
  const id = await directory.startAgent("RefundAgent/pay", { batch, from: 1, to });
  await until(`${paid} refunds of ${batch}`, async () => (await directory.refunds(batch)).length >= paid);
  return id;
}
/** Starts the inbox agent, and resolves when its step of 5 s has begun. */
async function writing(mailbox: string): Promise<string> {
  const id = await directory.startAgent(`Inbox/${mailbox}/answer`, { thorough: true });
  await until("the long step", async () => {
    const { body } = await directory.rest<{ inFlight?: { name: string }[] }>(pathOf(id, "/trace"));
    return body.inFlight?.some(({ name }) => name === "write a thorough answer") ?? false;
  });
  return id;
}
const refundIds = (count: number) =>
  Array.from({ length: count }, (_, i) => `RF-2026-${String(i + 1).padStart(4, "0")}`);
const processesOf = () =>
  ["agents", "restate"].map((name) => {
    const { pid } = JSON.parse(readFileSync(join(directory.dataDir, `${name}.pid`), "utf8")) as { pid: number };
    return pid;
  });
const alive = (pids: readonly number[]) => pids.filter((pid) => processIdentity(pid) !== undefined);

async function killServer({ child, ended }: Spawned): Promise<void> {
  child.kill("SIGKILL");
  await ended;
}

/** Resolves while the ledger has an INTENT that no brake names yet, as seen in the server's own database. */
async function untilIntentWithoutEffect(): Promise<void> {
  using database = new DatabaseSync(join(directory.dataDir, "mission-control.db"), { readOnly: true });
  const open = database.prepare("SELECT bytes FROM open_intent JOIN entry USING (sequence)");
  const brakes = database.prepare("SELECT 1 FROM brake WHERE instr(json, ?) > 0");
  const entryIds = () => open.all().map(({ bytes }) => fromBinary(AuditEntrySchema, bytes as Uint8Array).entryId);
  while (!entryIds().some((entryId) => brakes.get(entryId) === undefined)) await nextTurn();
}

/** All entries of the ledger. */
async function auditEntries(): Promise<AuditEntry[]> {
  const all: AuditEntry[] = [];
  let token = "";
  do {
    const path = `/v1/audit/entries?page_size=1000&page_token=${encodeURIComponent(token)}`;
    const { body } = await directory.rest<{ entries: AuditEntry[]; nextPageToken?: string }>(path);
    all.push(...body.entries);
    token = body.nextPageToken ?? "";
  } while (token !== "");
  return all;
}

test("it gets ready, says where it serves and what to type, and mctl calls it with a token of its own", async () => {
  directory = await createDevDirectory();
  const server = await directory.start();
  const printed = server.output();
  expect(printed).toContain("DEV MODE");
  expect(printed).toContain(`Mission Control serves gRPC, gRPC-Web, Connect and REST on ${directory.url}`);
  expect(printed).toContain(`npx mctl list --server ${directory.url} --data-dir ${directory.dataDir}`);
  expect((await fetch(`${directory.url}/readyz`)).status).toBe(200);
  const id = await paying("first", 4, 1);
  const list = await directory.mctl("list", "--type", "RefundAgent");
  expect(list).toMatchObject({ code: 0, stderr: "" });
  expect(list.stdout).toContain(id);
  const health = await directory.mctl("health");
  expect(health).toMatchObject({ code: 0, stderr: "" });
  expect(health.stdout).toMatch(/sample agents +\W*HEALTHY/);
});

test("after a kill -9, the paused stay paused, the pausing come to stand, and no refund is paid twice", async () => {
  directory = await createDevDirectory();
  const first = await directory.start();
  const count = 10;
  const paused = await paying("paused", count, 2);
  expect((await pause(paused, "10s")).body.newStatus).toBe("PAUSED");
  const paidBefore = await directory.refunds("paused");
  const pausing = await paying("pausing", count, 2);
  expect((await pause(pausing, "0s")).body.newStatus).toBe("PAUSING");
  const leftOver = processesOf();
  await killServer(first);
  // Whatever nobody holds runs on without Mission Control, also when nobody reads any more what the agents log.
  for (const batch of ["free", "free too"]) {
    await paying(batch, 2, 2);
    expect(alive(leftOver)).toEqual(leftOver);
  }

  const second = await directory.start("--log-level", "warn");
  expect(alive(leftOver)).toEqual([]);
  for (const program of ["sample agents", "engine"]) {
    expect(second.output()).toContain(`ended the ${program} that an earlier start left over`);
  }
  expect((await get(paused)).status).toBe("PAUSED");
  await untilStatus(pausing, "PAUSED");
  const paid = [await directory.refunds("paused"), await directory.refunds("pausing")];
  expect(paid[0]).toEqual(paidBefore);
  await delay(2_000);
  expect([await directory.refunds("paused"), await directory.refunds("pausing")]).toEqual(paid);

  for (const id of [paused, pausing]) expect((await resume(id)).body.newStatus).toMatch(/RUNNING|COMPLETED/);
  for (const id of [paused, pausing]) await untilStatus(id, "COMPLETED");
  for (const batch of ["paused", "pausing"]) expect(await directory.refunds(batch)).toEqual(refundIds(count));
});

test("what a kill -9 cuts off between intent and outcome is settled at start, and every acknowledged brake holds", async () => {
  directory = await createDevDirectory();
  let server = await directory.start();
  const count = 12;
  const batchOf = new Map<string, string>();
  /** The newStatus of each answered pause, and its brake. */
  const acknowledged = new Map<string, Control>();
  const settled = new Set<string>();
  for (const round of [1, 2]) {
    const batches = Array.from({ length: 10 }, (_, i) => `round-${round}-${i}`);
    const ids = await Promise.all(batches.map((batch) => paying(batch, count, 1)));
    for (const [i, id] of ids.entries()) batchOf.set(id, batches[i] as string);
    const pauseAll = (some: readonly string[], wait: string) =>
      some.map(async (id) => acknowledged.set(id, (await pause(id, wait)).body));
    await Promise.all(pauseAll(ids.slice(0, 3), "20s"));
    // One whose effect is there and whose answer waits for a long step; and many on the way from intent to effect.
    const slow = await writing(`round-${round}`);
    const waiting = pause(slow, "20s").catch(() => "cut off");
    await untilStatus(slow, "PAUSING");
    const calls = Promise.allSettled(pauseAll(ids.slice(3), "0s"));
    await untilIntentWithoutEffect();
    await killServer(server);
    await calls;
    expect(await waiting).toBe("cut off");

    server = await directory.start();
    const held: string[] = [];
    for (const [id, { newStatus, brakeId }] of acknowledged) {
      // What was not seen to stand yet may have come to its end while nobody was there to hold it.
      await until(`${id} stands`, async () => (await get(id)).status !== "PAUSING");
      const { status, holds } = await get(id);
      if (newStatus !== "PAUSED" && status === "COMPLETED") continue;
      expect(status).toBe("PAUSED");
      expect(holds?.map((hold) => hold.brakeId)).toContain(brakeId);
      held.push(id);
    }
    expect(held.length).toBeGreaterThanOrEqual(3 * round);
    const paid = () => Promise.all(held.map((id) => directory.refunds(batchOf.get(id) as string)));
    const before = await paid();
    await delay(1_000);
    expect(await paid()).toEqual(before);

    const entries = await auditEntries();
    const outcomes = new Map(
      entries.filter(({ phase }) => phase === "OUTCOME").map((outcome) => [outcome.intentEntryId, outcome]),
    );
    const intents = entries.filter(({ phase }) => phase === "INTENT");
    expect(intents.filter(({ entryId }) => !outcomes.has(entryId))).toEqual([]);
    for (const { message } of outcomes.values()) if (message?.startsWith("settled at start")) settled.add(message);
  }
  expect([...settled].sort()).toEqual([
    "settled at start: it had taken effect before the server stopped",
    "settled at start: the server stopped before it took effect",
  ]);

  const release = async (id: string) => (await get(id)).holds?.length && resume(id);
  await Promise.all(batchOf.keys().map(release));
  for (const [id, batch] of batchOf) {
    await untilStatus(id, "COMPLETED");
    expect(await directory.refunds(batch)).toEqual(refundIds(count));
  }
});

test("a signal ends it in order with exit 0, and the next start goes on from there", async () => {
  directory = await createDevDirectory();
  const first = await directory.start();
  const count = 6;
  const paused = await paying("paused", count, 2);
  const { body } = await pause(paused, "10s");
  const running = await paying("running", count, 2);
  const children = processesOf();
  // One Ctrl-C under npm: once from the terminal, once from npm.
  first.child.kill("SIGINT");
  first.child.kill("SIGINT");
  expect(await first.ended).toMatchObject({ code: 0, stderr: "" });
  expect(first.output()).toContain("what is braked stays braked");
  expect(alive(children)).toEqual([]);

  const second = await directory.start();
  await untilStatus(running, "COMPLETED");
  expect(await directory.refunds("running")).toEqual(refundIds(count));
  expect((await get(paused)).status).toBe("PAUSED");
  expect((await auditEntries()).map((entry) => entry.entryId)).toContain(body.auditEntryId);
  await resume(paused);
  await untilStatus(paused, "COMPLETED");
  expect(await directory.refunds("paused")).toEqual(refundIds(count));

  const again = processesOf();
  second.child.kill("SIGHUP");
  expect(await second.ended).toMatchObject({ code: 0, stderr: "" });
  expect(alive(again)).toEqual([]);
});

test("a second signal ends it at once, while the first one waits for a step", async () => {
  directory = await createDevDirectory();
  const { child, ended, untilPrinted } = await directory.start();
  await writing("slow");
  child.kill("SIGTERM");
  await untilPrinted("Stopping");
  await delay(600);
  expect(child.exitCode).toBeNull();
  const since = performance.now();
  child.kill("SIGTERM");
  expect((await ended).code).toBe(1);
  expect(performance.now() - since).toBeLessThan(500);
});

test("a signal while it starts ends it in order too", async () => {
  directory = await createDevDirectory();
  for (const line of ["Starting the embedded", "Starting the sample agents"]) {
    const { child, ended, untilPrinted } = directory.spawn();
    await untilPrinted(line);
    child.kill("SIGINT");
    expect(await ended).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(join(directory.dataDir, "restate.pid"))).toBe(false);
  }
});

describe("what stands in the way of a start is told, with what to do about it", () => {
  test("a port in use", async () => {
    directory = await createDevDirectory();
    const occupant = createServer().listen(directory.port, "127.0.0.1");
    await once(occupant, "listening");
    const { code, stderr } = await directory.spawn().ended;
    occupant.close();
    expect(code).toBe(1);
    expect(stderr).toBe(
      `mission-control: Port ${directory.port} on 127.0.0.1 is in use. Stop what listens there ` +
        `(\`lsof -i :${directory.port}\` shows it), or start with another one (--port).\n`,
    );
    expect(existsSync(join(directory.dataDir, "restate.pid"))).toBe(false);
  });

  test("the agents' port in use", async () => {
    directory = await createDevDirectory();
    const occupant = createServer().listen(directory.agentsPort, "127.0.0.1");
    await once(occupant, "listening");
    const { code, stderr } = await directory.spawn().ended;
    occupant.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`Port ${directory.agentsPort} on 127.0.0.1 is in use.*--agents-port`));
    expect(existsSync(join(directory.dataDir, "restate.pid"))).toBe(false);
  });

  test("a data directory in use; the one that uses it goes on", async () => {
    directory = await createDevDirectory();
    await directory.start();
    const { code, stderr } = await directory.spawn("--port", String(await freePort())).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^mission-control: Another Mission Control uses the data directory .*--data-dir/);
    expect((await fetch(`${directory.url}/readyz`)).status).toBe(200);
  });

  test.each([
    [["--host", "0.0.0.0"], /dev mode has dev keys, so it binds loopback only \(127\.0\.0\.1, ::1, localhost\)/],
    [["--prot", "8030"], /Unknown option '--prot'[\s\S]*--port <n>/],
    [["--port", "eighty", "--log-level", "loud"], /--port[\s\S]*"eighty"[\s\S]*--log-level[\s\S]*"loud"/],
  ])("dev %j is wrong usage", async (flags, message) => {
    directory = await createDevDirectory();
    const { code, stderr, stdout } = await directory.spawn(...flags).ended;
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

test("with a configuration file: its issuer's tokens are taken too, and its limits hold", async () => {
  directory = await createDevDirectory();
  const issuer = await createTestIssuer(directory.dataDir);
  const config = join(directory.dataDir, "dev.yaml");
  const { issuer: name, audience, jwksFile } = issuer;
  const identity = { issuers: [{ issuer: name, audience, jwks_file: jwksFile }] };
  writeFileSync(config, JSON.stringify({ identity, brakes: { longest: "1h" } }));
  await directory.start("--config", config, "--no-agents");
  const token = await issuer.token({ subject: "olga", roles: ["viewer"] });
  const answer = await fetch(`${directory.url}/v1/workflows`, { headers: { authorization: `Bearer ${token}` } });
  expect(answer.status).toBe(200);
  const brake = { reason: "test", selector: { types: ["Inbox"] }, expiresIn: "7200s" };
  expect((await directory.rest("/v1/brakes", brake)).body).toMatchObject({
    details: [{ reason: "EXPIRY_TOO_LONG" }, {}],
  });
});
