import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Fallback } from "../../src/ledger/fallback.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { BrakeQuery, Store } from "../../src/store/store.ts";
import { brake, entry, hold } from "../store/entry.ts";
import { type FailingStore, failingStore } from "./failing-store.ts";

let dir: string;
let path: string;
let database: Store;
let failing: FailingStore;
let fallback: Fallback;
let lines: string[];
const log = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
const open = () => Fallback.open({ store: failing.store, path, log });
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-fallback-"));
  path = join(dir, "elsewhere", "ledger.jsonl");
  lines = [];
  database = openSqlite(join(dir, "ledger.db"));
  failing = failingStore(database);
  fallback = await open();
});
afterEach(async () => {
  await fallback.close();
  await database.close();
  await rm(dir, { recursive: true });
});

/** What the database has, the oldest first. */
const told = async () =>
  (await database.listEntries({ limit: 1000 })).entries
    .reverse()
    .map(({ action, reason, fromFallback }) => `${reason || action}${fromFallback ? " (kept)" : ""}`);
const commit = (reason: string, more = {}) =>
  fallback.store.commit({ entries: [entry({ phase: Phase.INTENT, reason })], ...more });

it.each([
  ["a full disk", 13],
  ["a failing disk", 10],
])(
  "on %s an entry is kept in the file, with its owner's eyes only, and merged in order, once, with a word about it",
  async (_, code) => {
    await commit("before");
    expect(fallback.state).toBeUndefined();
    failing.fails = code;
    const [kept] = await commit("first");
    expect(kept).toMatchObject({ reason: "first", fromFallback: true });
    await Promise.all(["second", "third", "fourth"].map((reason) => commit(reason)));
    expect(await told()).toEqual(["before"]);
    expect(fallback.state).toMatchObject({ entries: 5, because: expect.stringMatching(/full|I\/O/) });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("ALARM");
    await expect(fallback.merge()).rejects.toThrow();
    expect(fallback.state?.entries).toBe(5);

    failing.fails = undefined;
    await fallback.merge();
    expect(fallback.state).toBeUndefined();
    expect(existsSync(path)).toBe(false);
    await commit("after");
    expect(await told()).toEqual([
      "before",
      "ledger.fallback_began (kept)",
      "first (kept)",
      "second (kept)",
      "third (kept)",
      "fourth (kept)",
      "ledger.fallback_merged",
      "after",
    ]);
    const [{ time } = {}] = (await database.listEntries({ entryId: kept?.entryId, limit: 1 })).entries;
    expect(time).toEqual(kept?.time);
  },
);

it("what a crash leaves in the file is merged at the next start, each once, also after a crash in the midst of that", async () => {
  failing.fails = 13;
  for (let n = 0; n < 100; n++) await commit(`entry ${n}`);
  // The process is gone; what it acknowledged is on the disk. The next one dies after 30 of them.
  failing.fails = undefined;
  failing.failAfter(30);
  const second = await open();
  expect(second.state?.entries).toBe(101);
  await expect(second.merge()).rejects.toThrow("full");
  failing.failAfter(Number.POSITIVE_INFINITY);
  failing.fails = undefined;
  const third = await open();
  await third.merge();
  const entries = await told();
  expect(entries).toHaveLength(102);
  expect(entries.slice(1, 101)).toEqual(Array.from({ length: 100 }, (_, n) => `entry ${n} (kept)`));
  expect(entries.at(-1)).toBe("ledger.fallback_merged");
  await third.close();
});

it("a merge whose last word was written before the crash is not told twice", async () => {
  failing.fails = 13;
  await commit("kept");
  const copy = await readFile(path);
  failing.fails = undefined;
  await fallback.merge();
  await writeFile(path, copy);
  const next = await open();
  await next.merge();
  expect(await told()).toEqual(["ledger.fallback_began (kept)", "kept (kept)", "ledger.fallback_merged"]);
  expect(existsSync(path)).toBe(false);
  await next.close();
});

it("brakes and holds are kept with their entries, are known meanwhile, and stand after the merge", async () => {
  failing.fails = 10;
  await commit("engage", { brakes: [brake({ reason: "pays twice" })], holds: [hold()] });
  const answer = {
    key: "k",
    requestDigest: Uint8Array.of(1),
    response: Uint8Array.of(2),
    brakeId: "br_1",
    time: Date.now(),
  };
  await commit("answered", { answers: [answer] });
  expect(await fallback.store.brake("br_1")).toMatchObject({ reason: "pays twice" });
  expect(await fallback.store.holdsOf("br_1")).toEqual([hold()]);
  expect(await fallback.store.answer("k")).toMatchObject(answer);
  await commit("engage", { brakes: [brake({ brakeId: "br_2" })] });
  const listed = async (query: Omit<BrakeQuery, "limit">) =>
    (await fallback.store.listBrakes({ ...query, limit: 10 })).map(({ brakeId }) => brakeId);
  expect(await listed({})).toEqual(["br_2", "br_1"]);
  expect(await listed({ before: "br_2" })).toEqual(["br_1"]);
  expect(await listed({ states: ["RELEASED"] })).toEqual([]);
  // A start that does not merge, because the ledger was tampered with, knows what is braked as well.
  const next = await open();
  expect((await next.store.activeBrakes()).map(({ brakeId }) => brakeId)).toEqual(["br_1", "br_2"]);
  failing.fails = undefined;
  await fallback.merge();
  expect(await database.activeBrakes()).toMatchObject([{ brakeId: "br_1", reason: "pays twice" }, { brakeId: "br_2" }]);
  expect(await database.holdsOf("br_1")).toMatchObject([{ workflowId: "restate:inv_1" }]);
  expect(await database.answer("k")).toMatchObject({ brakeId: "br_1" });
});

const gateToken = (id: string, more = {}) => ({
  gateTokenId: id,
  name: id,
  engine: "restate",
  hash: createHash("sha256").update(id).digest(),
  createTime: 1,
  createdBy: "alice",
  expireTime: undefined,
  revokeTime: undefined,
  revokedBy: "",
  createEntryId: `intent of ${id}`,
  revokeEntryId: "",
  ...more,
});
const revocation = (tokenId: string, intentEntryId: string) => ({
  ...{ issuer: "i", tokenId, subject: "", issuedBefore: 0, reason: "", revokedBy: "alice", intentEntryId },
  ...{ revokeTime: Date.now(), expireTime: Date.now() + 3_600_000 },
});

it("a start while the database cannot be written knows all that is in the file: tokens, revocations, what is open and what was done", async () => {
  await commit("token", { gateTokens: [gateToken("old"), gateToken("kept")] });
  await commit("revocation", { revocations: [revocation("t1", "intent of t1")] });
  const [left] = await commit("left open");
  const [ended] = await commit("ended in the file");
  failing.fails = 13;
  const revoked = gateToken("old", { revokeTime: 2, revokedBy: "alice", revokeEntryId: "intent to revoke" });
  await commit("leaked", { gateTokens: [revoked] });
  await commit("made", { gateTokens: [gateToken("new")], revocations: [revocation("t2", "intent of t2")] });
  const outcome = entry({ phase: Phase.OUTCOME, intentEntryId: ended?.entryId ?? "" });
  await fallback.store.commit({ entries: [outcome] });
  const [engaged] = await commit("brake");
  const effect = entry({ phase: Phase.SYSTEM, intentEntryId: engaged?.entryId ?? "", brakeId: "br_1" });
  await fallback.store.commit({ entries: [effect], brakes: [brake()] });

  const next = await open();
  const { store } = next;
  await next.mergeLeft();
  const tokens = async (all: boolean) => (await store.gateTokens(all)).map(({ gateTokenId }) => gateTokenId);
  for (const known of ["while it cannot be written", "merged"]) {
    expect([known, await tokens(true), await tokens(false)]).toEqual([known, ["new", "kept", "old"], ["new", "kept"]]);
    expect(await store.gateTokenByHash(revoked.hash)).toMatchObject({ gateTokenId: "old", revokeTime: 2 });
    expect(await store.gateToken("kept")).toMatchObject({ name: "kept" });
    expect(await store.gateTokenOfIntent("intent to revoke")).toMatchObject({ gateTokenId: "old" });
    expect(await store.gateTokenOfIntent("intent of new")).toMatchObject({ gateTokenId: "new" });
    expect((await store.revocations()).map(({ tokenId }) => tokenId).sort()).toEqual(["t1", "t2"]);
    expect(await store.revocationOfIntent("intent of t1")).toMatchObject({ tokenId: "t1" });
    expect(await store.revocationOfIntent("intent of t2")).toMatchObject({ tokenId: "t2" });
    expect(await store.brakeOfIntent(engaged?.entryId ?? "")).toMatchObject({ brakeId: "br_1" });
    const reasons = (await store.openIntents()).map(({ reason }) => reason);
    expect(reasons).toContain(left?.reason);
    expect(reasons).toContain("brake");
    expect(reasons).not.toContain("ended in the file");
    failing.fails = undefined;
    await next.merge();
  }
  await next.close();
});

it("one outage after another, and what was written behind the end: the file is as it was acknowledged", async () => {
  failing.fails = 13;
  await commit("first");
  failing.fails = undefined;
  await fallback.merge();
  failing.fails = 13;
  await commit("second");
  // What a write left behind that failed half way; longer than what comes.
  await appendFile(path, `0123456789abcdef {"half": "${"x".repeat(5_000)}`);
  await commit("third");
  const whole = await readFile(path, "utf8");
  expect(whole).not.toContain("half");
  await appendFile(path, "cut off by a crash");
  const next = await open();
  expect(next.state?.entries).toBe(3);
  expect(await readFile(path, "utf8")).toBe(whole);
  failing.fails = undefined;
  await next.merge();
  expect((await told()).filter((one) => !one.startsWith("ledger."))).toEqual([
    "first (kept)",
    "second (kept)",
    "third (kept)",
  ]);
  await next.close();
});

it("a line that a crash cut off was not acknowledged, and is left out; a damaged one in the middle is refused", async () => {
  failing.fails = 13;
  await commit("whole");
  const whole = await readFile(path, "utf8");
  await appendFile(path, whole.split("\n")[1]?.slice(0, 40) ?? "");
  const next = await open();
  expect(lines.at(-1)).toContain("cut off");
  failing.fails = undefined;
  await next.merge();
  expect((await told())[1]).toBe("whole (kept)");
  await next.close();
  // Only its end is missing.
  await writeFile(path, whole.slice(0, -1));
  const shorter = await open();
  expect(shorter.state?.entries).toBe(1);
  await shorter.close();
  await writeFile(path, whole.replace("entries", "entrees"));
  await expect(open()).rejects.toMatchObject({
    reason: "LEDGER_UNAVAILABLE",
    message: expect.stringContaining("line 2"),
  });
});

it("what is wrong with a change itself is refused as ever, and makes no fallback", async () => {
  const orphan = { entries: [entry()], holds: [hold({ brakeId: "br_of_nobody" })] };
  await expect(fallback.store.commit(orphan)).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
  expect(fallback.state).toBeUndefined();
  expect(existsSync(path)).toBe(false);
});

it("where the file cannot be written either, everything is refused, until one of them can", async () => {
  await writeFile(join(dir, "elsewhere"), "a file where a folder has to be");
  failing.fails = 13;
  await expect(commit("nowhere")).rejects.toMatchObject({
    reason: "LEDGER_UNAVAILABLE",
    message: expect.stringMatching(/neither .* nor/),
  });
  expect(fallback.state).toBeUndefined();
  await rm(join(dir, "elsewhere"));
  await mkdir(join(dir, "elsewhere"));
  await commit("kept");
  failing.fails = undefined;
  await fallback.merge();
  expect((await told()).filter((one) => !one.startsWith("ledger."))).toEqual(["kept (kept)"]);
});

it("what comes while the file is merged is in the ledger once, behind what came before it", async () => {
  failing.fails = 13;
  for (let n = 0; n < 200; n++) await commit(`before ${n}`);
  failing.fails = undefined;
  const merged = fallback.merge();
  const during: Promise<unknown>[] = [];
  for (let n = 0; n < 200; n++) {
    during.push(commit(`during ${n}`));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all([merged, ...during]);
  await fallback.merge();
  const entries = (await told()).map((one) => one.replace(" (kept)", "")).filter((one) => !one.startsWith("ledger."));
  expect(entries).toEqual([
    ...Array.from({ length: 200 }, (_, n) => `before ${n}`),
    ...Array.from({ length: 200 }, (_, n) => `during ${n}`),
  ]);
});
