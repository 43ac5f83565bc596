import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { LateOutcomes } from "../../src/ledger/late-outcomes.ts";
import { createLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { type FailingStore, failingStore } from "./failing-store.ts";

let dir: string;
let database: Store;
let failing: FailingStore;
let ledger: Ledger;
let late: LateOutcomes;
const log = createLog("silent");
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-late-"));
  database = openSqlite(join(dir, "ledger.db"));
  failing = failingStore(database);
  ledger = createLedger(failing.store, log);
  late = new LateOutcomes({ ledger, log, retryMs: 5 });
});
afterEach(async () => {
  await late.close();
  await database.close();
  await rm(dir, { recursive: true });
});

const outcome = (action: string, message = "") => ({ phase: Phase.OUTCOME, action, message, resultCode: "OK" });
const told = async () =>
  (await database.listEntries({ limit: 1000 })).entries.reverse().map(({ action, message }) => [action, message]);

it("what could not be written is written in its order, once, when the ledger can be again; some of it before the next fault", async () => {
  failing.fails = 13;
  for (const action of ["first", "second", "third"]) late.add(outcome(action), undefined);
  await late.write();
  expect(late.count).toBe(3);
  failing.fails = undefined;
  failing.failAfter(2);
  await expect.poll(() => late.count).toBe(1);
  failing.failAfter(Number.POSITIVE_INFINITY);
  failing.fails = undefined;
  await expect.poll(() => late.count).toBe(0);
  const why = "written late: the ledger could not be written when the call ended";
  expect(await told()).toEqual(["first", "second", "third"].map((action) => [action, why]));
});

it("a stop writes what it can; what waits is bounded", async () => {
  failing.fails = 13;
  const many = new LateOutcomes({ ledger, log, retryMs: 3_600_000 });
  for (let n = 0; n < 10_001; n++) many.add(outcome("many"), undefined);
  expect(many.count).toBe(10_000);
  await many.close();
  expect(many.count).toBe(10_000);
  late.add(outcome("last", "it failed"), undefined);
  failing.fails = undefined;
  await late.close();
  expect(await told()).toEqual([["last", expect.stringMatching(/^it failed; written late: /)]]);
});
