import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type AuditEntry, AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { createLedger, type EntryInit, type Ledger } from "../../src/ledger/ledger.ts";
import { createRefusals, type RefusalLimits, type Refusals } from "../../src/ledger/refusals.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";

const log = createLog("silent");
let dir: string;
let store: Store;
let ledger: Ledger;
/** While it is true, the disk takes nothing. */
let broken = false;
let refusals: Refusals;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mc-refusals-"));
  store = openSqlite(join(dir, "ledger.db"));
  broken = false;
  const written = createLedger(store, log);
  ledger = {
    append: async (entry, also) => {
      if (broken) throw new Error("disk full");
      return written.append(entry, also);
    },
    fault: undefined,
  };
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Windows as long as the test wants: they end when it closes the refusals. */
const open = (limits: Partial<RefusalLimits> = {}) => {
  refusals = createRefusals(ledger, log, { windowMs: 3_600_000, perCaller: 3, inAll: 1_000, ...limits });
};
const refusal = (more: { source?: string; subject?: string; action?: string; reason?: string } = {}): EntryInit => ({
  phase: AuditEntry_Phase.DENIED,
  principal: {
    sourceAddress: more.source ?? "192.0.2.7",
    ...(more.subject !== undefined && {
      issuer: "https://login.example.com",
      subject: more.subject,
      roles: ["viewer"],
    }),
  },
  action: more.action ?? "runtime.pause",
  method: "missioncontrol.v1.MissionControl/PauseWorkflow",
  protocol: "rest",
  callId: "call-1",
  resultCode: "UNAUTHENTICATED",
  errorReason: more.reason ?? "TOKEN_MISSING",
  message: "there is no token",
});
const refuse = async (count: number, more: Parameters<typeof refusal>[0] = {}) => {
  for (let i = 0; i < count; i++) await refusals.record(refusal(more));
};
const entries = async () => (await store.listEntries({ limit: 1000 })).entries.reverse();
/** What the ledger knows of: entries of their own, and what the sums stand for. */
const known = (all: AuditEntry[]) => all.reduce((sum, { count }) => sum + (count === 0n ? 1 : Number(count)), 0);
const sums = (all: AuditEntry[]) => all.filter(({ count }) => count > 0n);

test("up to the rate each refusal has its own entry; what is beyond is one, with how many it stands for", async () => {
  open();
  await refuse(1_000);
  expect(await entries()).toHaveLength(3);
  await refusals.close();
  const all = await entries();
  expect(all).toHaveLength(4);
  expect(all[3]).toMatchObject({
    phase: AuditEntry_Phase.DENIED,
    count: 997n,
    action: "runtime.pause",
    resultCode: "UNAUTHENTICATED",
    errorReason: "TOKEN_MISSING",
    principal: { sourceAddress: "192.0.2.7", subject: "" },
    message: "stands for 997 refusals within 3600 s: a flood, of which the first ones have entries of their own",
  });
});

test("a flooder takes no entry from anybody else", async () => {
  open();
  await refuse(1_000, { source: "192.0.2.7" });
  await refuse(3, { source: "192.0.2.8" });
  await refusals.close();
  const all = await entries();
  expect(all.filter(({ principal, count }) => principal?.sourceAddress === "192.0.2.8" && count === 0n)).toHaveLength(
    3,
  );
});

test("an authenticated caller's flood is their own, wherever it comes from; sums say whose it is", async () => {
  open();
  await refuse(10, { subject: "runaway", source: "192.0.2.1", reason: "ROLE_DENIED" });
  await refuse(10, { subject: "runaway", source: "192.0.2.2", reason: "ROLE_DENIED" });
  await refuse(3, { subject: "alice", source: "192.0.2.1", reason: "ROLE_DENIED" });
  await refusals.close();
  const all = await entries();
  expect(known(all)).toBe(23);
  expect(sums(all)).toHaveLength(1);
  expect(sums(all)[0]).toMatchObject({
    count: 17n,
    errorReason: "ROLE_DENIED",
    principal: { issuer: "https://login.example.com", subject: "runaway", roles: ["viewer"] },
  });
});

test("actions and reasons are summed up apart", async () => {
  open({ perCaller: 0 });
  await refuse(5, { action: "runtime.pause" });
  await refuse(7, { action: "runtime.list" });
  await refuse(11, { action: "runtime.list", reason: "TOKEN_EXPIRED" });
  await refusals.close();
  const told = (await entries()).map(({ action, errorReason, count }) => [action, errorReason, Number(count)]);
  expect(told.sort()).toEqual([
    ["runtime.list", "TOKEN_EXPIRED", 11],
    ["runtime.list", "TOKEN_MISSING", 7],
    ["runtime.pause", "TOKEN_MISSING", 5],
  ]);
});

describe("nothing of it is unbounded, and nothing is lost", () => {
  test("many sources: entries of their own end at the bound for all", async () => {
    open({ inAll: 20 });
    for (let i = 0; i < 200; i++) await refusals.record(refusal({ source: `198.51.100.${i}` }));
    expect(await entries()).toHaveLength(20);
    await refusals.close();
    expect(known(await entries())).toBe(200);
  });

  test("more sources than are told apart share one sum", async () => {
    open({ callers: 10, inAll: 5, sums: 8 });
    for (let i = 0; i < 10_000; i++)
      await refusals.record(refusal({ source: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }));
    await refusals.close();
    const all = await entries();
    expect(known(all)).toBe(10_000);
    expect(all.length).toBeLessThanOrEqual(5 + 8 + 1);
    expect(all.find(({ principal }) => principal === undefined)?.count).toBeGreaterThan(9_900n);
  });

  test("a network's many IPv6 addresses are one source", async () => {
    open();
    for (let i = 0; i < 100; i++) await refusals.record(refusal({ source: `2001:db8:0:1:${i.toString(16)}::1` }));
    await refuse(1, { source: "2001:db8:0:2::1" });
    await refuse(1, { source: "::1" });
    await refusals.close();
    const all = await entries();
    expect(all.filter(({ count }) => count === 0n)).toHaveLength(5);
    expect(sums(all)).toMatchObject([{ count: 97n, principal: { sourceAddress: "2001:db8:0:1::/64" } }]);
  });

  test("a disk that takes nothing: what was counted stays counted, and is written later", async () => {
    open({ perCaller: 1, windowMs: 20 });
    await refuse(1);
    broken = true;
    await refuse(9);
    await expect(refusals.record(refusal({ source: "192.0.2.99" }))).rejects.toThrow("disk full");
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await entries()).toHaveLength(1);
    broken = false;
    await vi.waitFor(async () => expect(known(await entries())).toBe(10));
    await refusals.close();
    expect(known(await entries())).toBe(10);
  });
});

test("the window ends by itself, and the next one begins with the next refusal", async () => {
  open({ windowMs: 30 });
  await refuse(10);
  await vi.waitFor(async () => expect(known(await entries())).toBe(10));
  const before = (await entries()).length;
  await refuse(1);
  expect(await entries()).toHaveLength(before + 1);
  await refusals.close();
});

test("in a flood, the refused is answered without waiting for the disk", async () => {
  open({ perCaller: 0 });
  const append = vi.spyOn(ledger, "append");
  await refuse(100);
  expect(append).not.toHaveBeenCalled();
  await refusals.close();
  expect(append).toHaveBeenCalledTimes(1);
});
