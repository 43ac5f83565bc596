import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { AuditEntry_Phase as Phase } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { createLedger, type EntryInit } from "../src/ledger/ledger.ts";
import { createLog } from "../src/log.ts";
import { openSqlite } from "../src/store/sqlite.ts";
import { type Bench, median, rotated } from "./bench.ts";

/** Calls that wait for their entry at the same time. */
const producers = 64;

/**
 * Entries a second: the ledger under many callers; raw SQLite that commits the same rows in the same batches; raw SQLite with
 * nothing but the same bytes, one row for each entry; and the ledger with one commit for each entry.
 */
export const ledger: Bench = {
  name: "ledger",
  about: `entries a second: ${producers} callers of the ledger against raw SQLite in the same batches, and one by one`,

  async run({ workflows, repeat }, say) {
    const count = Math.max(producers, workflows);
    const few = Math.max(producers, Math.round(workflows / 10));
    const rows = await rowsOfOne();
    const contenders = [
      { name: "grouped", entries: count, run: (path: string) => throughLedger(path, count, producers) },
      { name: "raw", entries: count, run: (path: string) => raw(path, count, rows) },
      { name: "bytes", entries: count, run: (path: string) => raw(path, count, [Buffer.concat(rows)]) },
      { name: "single", entries: few, run: (path: string) => throughLedger(path, few, 1) },
    ];
    const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round < repeat; round++) {
      for (const { name, entries, run } of rotated(contenders, round)) {
        const dir = mkdtempSync(join(tmpdir(), "mc-bench-"));
        try {
          rates.get(name)?.push((entries / (await run(join(dir, "ledger.db")))) * 1_000);
        } finally {
          rmSync(dir, { recursive: true, force: true });
        }
      }
      say(`round ${round + 1} of ${repeat}`);
    }
    const of = (name: string) => median(rates.get(name) ?? []);
    return [
      { name: `ledger, ${producers} callers`, value: of("grouped"), unit: "1/s" },
      { name: `raw SQLite, the same rows, ${producers} in a commit`, value: of("raw"), unit: "1/s" },
      { name: `raw SQLite, the same bytes as one row, ${producers} in a commit`, value: of("bytes"), unit: "1/s" },
      { name: "ledger, one commit for each", value: of("single"), unit: "1/s" },
      { name: "ledger / raw SQLite", value: of("grouped") / of("raw"), unit: "ratio", target: { atLeast: 0.7 } },
      { name: "ledger / raw SQLite, one row", value: of("grouped") / of("bytes"), unit: "ratio" },
      { name: "grouped / one by one", value: of("grouped") / of("single"), unit: "ratio" },
    ];
  },
};

/** What a control call writes. */
const entry: EntryInit = {
  phase: Phase.INTENT,
  principal: {
    issuer: "https://login.example.com/",
    subject: "alice@example.com",
    roles: ["sre_admin"],
    tokenId: "4a7f2f0e-8f3c-4f0e-9a7e-0d6f3f7c1b2a",
    authenticationMethod: "jwt",
    sourceAddress: "127.0.0.1",
  },
  action: "runtime.pause",
  method: "missioncontrol.v1.MissionControl/PauseWorkflow",
  target: "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI",
  engine: "restate",
  callId: "0b0c3b8e-2f5c-4b39-9b0e-7f3ce1a2d9aa",
  protocol: "grpc",
  requestDigest: new Uint8Array(32).fill(7),
  decision: { allowed: true, policyIds: ["control"], policySetHash: "c0ffee".repeat(10) },
  reason: "refunds are paid twice, INC-4711",
};

async function throughLedger(path: string, count: number, callers: number): Promise<number> {
  const store = openSqlite(path);
  const { append } = createLedger(store, createLog("silent"));
  let left = count;
  const caller = async () => {
    while (left-- > 0) await append(entry);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: callers }, caller));
  const ms = performance.now() - began;
  await store.close();
  return ms;
}

/**
 * What SQLite itself can do here: bytes that are there already, as many as the ledger writes for an entry, appended to plain
 * tables by prepared statements, in the same batches, with the same durability.
 *
 * @param rows what an entry is, a row in a table of its own for each.
 */
async function raw(path: string, count: number, rows: readonly Uint8Array[]): Promise<number> {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON");
  const inserts = rows.map((bytes, n) => {
    db.exec(`CREATE TABLE plain${n} (id INTEGER PRIMARY KEY, bytes BLOB)`);
    return { bytes, insert: db.prepare(`INSERT INTO plain${n} (id, bytes) VALUES (?, ?)`) };
  });
  const began = performance.now();
  for (let at = 0; at < count; at += producers) {
    db.exec("BEGIN IMMEDIATE");
    for (let n = at + 1; n <= Math.min(count, at + producers); n++) {
      for (const { insert, bytes } of inserts) insert.run(n, bytes);
    }
    db.exec("COMMIT");
  }
  const ms = performance.now() - began;
  db.close();
  return ms;
}

/** As many bytes as the ledger stores for one entry: the entry, its personal values, and that its intent is open. */
async function rowsOfOne(): Promise<Uint8Array[]> {
  const dir = mkdtempSync(join(tmpdir(), "mc-bench-"));
  const path = join(dir, "ledger.db");
  const store = openSqlite(path);
  try {
    await createLedger(store, createLog("silent")).append(entry);
    const db = new DatabaseSync(path, { readOnly: true });
    const stored = db.prepare("SELECT bytes, disclosures FROM entry JOIN personal USING (sequence)").get();
    db.close();
    return [stored?.bytes as Uint8Array, stored?.disclosures as Uint8Array, new Uint8Array(0)];
  } finally {
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  }
}
