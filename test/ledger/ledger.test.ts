import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { createLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { brake } from "../store/entry.ts";

let dir: string;
let store: Store;
let ledger: Ledger;
const lines: string[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-ledger-"));
  store = openSqlite(join(dir, "ledger.db"));
  lines.length = 0;
  ledger = createLedger(store, pino({ level: "info" }, { write: (line: string) => lines.push(line) }));
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

describe("the ledger", () => {
  it("adds id, sequence and time, and answers what was stored", async () => {
    const before = Date.now();
    const entry = await ledger.append({ phase: AuditEntry_Phase.SYSTEM, action: "server.start" });
    expect(entry.entryId).toMatch(/^ae_[0-9a-z]{25}$/);
    expect(entry.sequence).toBe(1n);
    expect(timestampMs(entry.time as NonNullable<typeof entry.time>)).toBeGreaterThanOrEqual(before);
    expect((await store.listEntries({ limit: 10 })).entries).toEqual([entry]);
  });

  it("commits a brake and its entry together", async () => {
    await ledger.append({ phase: AuditEntry_Phase.INTENT, action: "runtime.pause" }, { brakes: [brake()] });
    expect(await store.activeBrakes()).toEqual([brake()]);
  });

  it("cuts what is too long, and stores what is not text as a replacement character", async () => {
    const entry = await ledger.append({
      phase: AuditEntry_Phase.DENIED,
      reason: "x".repeat(5000),
      target: "t".repeat(5000),
      message: `${"m".repeat(1023)}😀`,
      principal: { subject: `\ud800${"s".repeat(5000)}`, roles: Array.from({ length: 100 }, () => "r".repeat(5000)) },
    });
    expect(entry.reason).toHaveLength(1024);
    expect(entry.target).toHaveLength(512);
    expect(entry.message).toBe(`${"m".repeat(1023)}\ufffd`);
    expect(entry.principal?.subject).toMatch(/^\ufffds{255}$/);
    expect(entry.principal?.roles).toHaveLength(32);
    expect((await store.listEntries({ limit: 10 })).entries).toEqual([entry]);
  });

  it("shows a fault while it cannot be written, tells the log once, and shows none when it can again", async () => {
    expect(ledger.fault).toBeUndefined();
    const other = new DatabaseSync(join(dir, "ledger.db"));
    other.exec("BEGIN IMMEDIATE");
    const attempts = [1, 2, 3].map(() => ledger.append({ phase: AuditEntry_Phase.READ }));
    for (const result of await Promise.allSettled(attempts)) {
      expect(result).toMatchObject({ status: "rejected", reason: { reason: "LEDGER_UNAVAILABLE" } });
    }
    expect(ledger.fault?.message).toContain("database is locked");
    expect(lines).toHaveLength(1);
    other.exec("ROLLBACK");
    other.close();
    await ledger.append({ phase: AuditEntry_Phase.READ });
    expect(ledger.fault).toBeUndefined();
    expect(lines).toHaveLength(2);
  });
});
