import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync, StatementSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import { toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AuditEntry_Phase, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Hold } from "../../src/store/brake.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { storeConformance } from "../conformance/store.ts";
import { brake, entry, hold, settled } from "./entry.ts";

storeConformance("sqlite", async () => {
  const dir = await mkdtemp(join(tmpdir(), "mc-store-"));
  return { open: async () => openSqlite(join(dir, "ledger.db")), remove: () => rm(dir, { recursive: true }) };
});

describe("the SQLite store", () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "mc-store-"));
    path = join(dir, "data", "ledger.db");
  });
  afterEach(() => rm(dir, { recursive: true }));

  it("keeps every acknowledged entry through a kill -9, without gaps", async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "commit-loop.ts"), path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Math.max(acknowledged, Number(line));
      if (acknowledged >= 500 && !child.killed) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    expect(child.signalCode).toBe("SIGKILL");

    const store = openSqlite(path);
    const head = Number(store.head);
    expect(head).toBeGreaterThanOrEqual(acknowledged);
    await store.close();
    const db = new DatabaseSync(path);
    const row = db.prepare("SELECT count(*) AS n, min(sequence) AS first, max(sequence) AS last FROM entry").get();
    db.close();
    expect(row).toEqual({ n: head, first: 1, last: head });
  });

  it("goes on without a gap after a disk that could not even be read where the ledger ends", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry()] });
    const failure = () => Object.assign(new Error("disk I/O error"), { errcode: 10 });
    const { run, get } = StatementSync.prototype;
    let fails = false;
    vi.spyOn(StatementSync.prototype, "run").mockImplementation(function (this: StatementSync, ...values) {
      fails ||= this.sourceSQL === "COMMIT";
      if (fails) throw failure();
      return run.apply(this, values as never);
    });
    vi.spyOn(StatementSync.prototype, "get").mockImplementation(function (this: StatementSync, ...values) {
      if (fails) throw failure();
      return get.apply(this, values as never);
    });
    try {
      await expect(store.commit({ entries: [entry()] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
      expect(store.head).toBe(1n);
    } finally {
      vi.restoreAllMocks();
    }
    const [next] = await store.commit({ entries: [entry()] });
    expect(next?.sequence).toBe(2n);
    expect((await store.storedEntries(0n, 10)).map(({ sequence }) => sequence)).toEqual([1n, 2n]);
    await store.close();
  });

  it("on a disk that fills up refuses what it cannot write, and keeps what it acknowledged", async () => {
    // The shell's limit on the size of files stands for a full disk: the writes fail in the middle of transactions.
    const script = join(import.meta.dirname, "fill-disk.ts");
    const child = spawn("sh", ["-c", `trap "" XFSZ; ulimit -f 600; exec "${process.execPath}" "${script}" "${path}"`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { acknowledged, refused } = JSON.parse(await text(child.stdout));
    expect(acknowledged).toBeGreaterThan(0);
    expect(refused).toEqual(["LEDGER_UNAVAILABLE"]);
    const store = openSqlite(path);
    const [next] = await store.commit({ entries: [entry()] });
    expect(next?.sequence).toBe(BigInt(acknowledged + 1));
    await store.close();
  });

  it("lets nobody else read the ledger", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry()] });
    expect((await stat(join(dir, "data"))).mode & 0o777).toBe(0o700);
    for (const file of [path, `${path}-wal`, `${path}-shm`]) expect((await stat(file)).mode & 0o777).toBe(0o600);
    await store.close();
  });

  it("refuses to change or delete an entry, whoever asks the database", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry()] });
    await store.close();
    const db = new DatabaseSync(path);
    expect(() => db.exec("UPDATE entry SET bytes = x'00'")).toThrow("append-only");
    expect(() => db.exec("DELETE FROM entry")).toThrow("append-only");
    db.close();
  });

  it("waits for a lock of another process without blocking, refuses within a second, and goes on by itself", async () => {
    const store = openSqlite(path);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const began = performance.now();
    let turns = 0;
    const turning = setInterval(() => turns++, 1);
    const short = store.commit({ entries: [entry()] });
    await expect(short).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
    clearInterval(turning);
    expect(performance.now() - began).toBeLessThan(1000);
    expect(turns).toBeGreaterThan(20);
    const patient = store.commit({ entries: [entry()] });
    await new Promise((resolve) => setTimeout(resolve, 50));
    other.exec("ROLLBACK");
    other.close();
    expect((await patient)[0]?.sequence).toBe(1n);
    await store.close();
  });

  it("takes a database of the first schema with it", async () => {
    const old = new DatabaseSync(join(dir, "old.db"));
    old.exec(await readFile(join(import.meta.dirname, "schema-1.sql"), "utf8"));
    const intent = entry({ phase: AuditEntry_Phase.INTENT, principal: { subject: "alice" }, sequence: 1n });
    const insert = old.prepare("INSERT INTO entry VALUES (?, ?, ?, zeroblob(32), 1, ?, 'alice', '', '', '')");
    insert.run(1, intent.entryId, toBinary(AuditEntrySchema, intent), intent.phase);
    old.prepare("INSERT INTO open_intent VALUES (?, 1)").run(intent.entryId);
    const engaged = brake({ state: "RELEASED" });
    const holds = oldHolds();
    old.prepare("INSERT INTO brake VALUES (7, ?, 'RELEASED', ?)").run(engaged.brakeId, JSON.stringify(engaged));
    const insertHold = old.prepare("INSERT INTO hold (brake_id, workflow_id, settled, json) VALUES ('br_1', ?, ?, ?)");
    for (const one of holds) insertHold.run(one.workflowId, one.halt.settled ? 1 : 0, JSON.stringify(one));
    old.close();
    const store = openSqlite(join(dir, "old.db"));
    expect(await store.holdsOf("br_1")).toEqual(holds);
    expect(await store.heldOf("restate:inv_120")).toEqual([{ brake: engaged, hold: holds[120] }]);
    // It is released, and active for the sake of those that are not settled.
    expect(await store.activeBrakes()).toEqual([engaged]);
    await store.commit({ entries: [], holds: holds.map(settled) });
    expect(await store.activeBrakes()).toEqual([]);
    expect((await store.listEntries({ subject: "alice", limit: 10 })).entries).toEqual([intent]);
    expect(await store.openIntents()).toEqual([intent]);
    expect((await store.commit({ entries: [entry()] }))[0]?.sequence).toBe(2n);
    await store.close();
  });

  it("refuses a database that a newer version wrote, and says what to do", async () => {
    await openSqlite(path).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    expect(() => openSqlite(path)).toThrow(
      /newer Mission Control \(schema 99, this one knows \d+\): start that version/,
    );
  });

  it("leaves another program's database and a file that is none alone", async () => {
    const foreign = join(dir, "foreign.db");
    const db = new DatabaseSync(foreign);
    db.exec("CREATE TABLE orders (id INTEGER)");
    db.close();
    expect(() => openSqlite(foreign)).toThrow(/database of another program/);
    const notes = join(dir, "notes.txt");
    await writeFile(notes, "not a database, but long enough that SQLite has to look at it twice\n".repeat(20));
    expect(() => openSqlite(notes)).toThrow(/cannot open the ledger's database/);
  });
});

/** More than a page of them, with all that a hold may say. */
function oldHolds(): Hold[] {
  const steps = [{ name: "charge card", startTime: 1_700_000_000_100, outcome: "reruns" as const, failing: true }];
  return Array.from({ length: 130 }, (_, order) => {
    const one = hold({ workflowId: `restate:inv_${order}`, order, caughtThrough: order > 100 ? "restate:inv_0" : "" });
    if (order % 2 === 0) return one;
    const halt = {
      ...one.halt,
      foundPaused: true,
      acceptTime: 1_700_000_000_200,
      standstillTime: 1_700_000_000_300,
      releaseTime: 1_700_000_000_400,
      steps: { inFlight: steps, startedAfterAccept: 1, hidesStep: true },
      settled: true,
    };
    const traits = { type: "Refund", labels: { risk: order % 3 === 0 ? "high" : "low" } };
    return { ...one, traits, name: `Refund/${order}`, late: true, missed: true, ended: true, halt };
  });
}
