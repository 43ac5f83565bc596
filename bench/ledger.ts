import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditEntry_Phase as Phase } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { createLedger, type EntryInit } from "../src/ledger/ledger.ts";
import { createLog } from "../src/log.ts";
import { openSqlite } from "../src/store/sqlite.ts";
import { openDatabase } from "../src/store/sqlite-schema.ts";
import { type Bench, median, rotated } from "./bench.ts";

/** Calls that wait for their entry at the same time. */
const producers = 64;

/** Entries a second: the ledger under many callers, raw SQLite with the same batches, and one commit for each entry. */
export const ledger: Bench = {
  name: "ledger",
  about: `entries a second: ${producers} callers of the ledger against raw SQLite in the same batches, and one by one`,

  async run({ workflows, repeat }, say) {
    const count = Math.max(producers, workflows);
    const few = Math.max(producers, Math.round(workflows / 10));
    const contenders = [
      { name: "grouped", entries: count, run: (path: string) => throughLedger(path, count, producers) },
      { name: "raw", entries: count, run: (path: string) => raw(path, count) },
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
      { name: `raw SQLite, ${producers} in a commit`, value: of("raw"), unit: "1/s" },
      { name: "ledger, one commit for each", value: of("single"), unit: "1/s" },
      { name: "ledger / raw SQLite", value: of("grouped") / of("raw"), unit: "ratio" },
      { name: "grouped / one by one", value: of("grouped") / of("single"), unit: "ratio" },
    ];
  },
};

/** What a control call writes. */
const entry: EntryInit = {
  phase: Phase.INTENT,
  principal: { subject: "alice@example.com", roles: ["sre_admin"], sourceAddress: "127.0.0.1" },
  action: "runtime.pause",
  method: "missioncontrol.v1.MissionControl/PauseWorkflow",
  target: "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI",
  engine: "restate",
  callId: "0b0c3b8e-2f5c-4b39-9b0e-7f3ce1a2d9aa",
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

/** The same table with the same durability, of bytes that are there already: what SQLite itself can do here. */
async function raw(path: string, count: number): Promise<number> {
  const db = openDatabase(path);
  const insert = db.prepare(
    `INSERT INTO entry (sequence, entry_id, bytes, leaf_hash, time, phase, subject, action, target, call_id)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const [bytes, hash] = [new Uint8Array(330), new Uint8Array(32)];
  const began = performance.now();
  for (let at = 0; at < count; at += producers) {
    db.exec("BEGIN IMMEDIATE");
    for (let n = at + 1; n <= Math.min(count, at + producers); n++) {
      insert.run(n, `ae_${n}`, bytes, hash, n, 2, "alice", "runtime.pause", "restate:inv_1", "call");
    }
    db.exec("COMMIT");
  }
  const ms = performance.now() - began;
  db.close();
  return ms;
}
