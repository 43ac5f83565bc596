import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  type AuditEntry,
  AuditEntrySchema,
  AuditEntry_Phase as Phase,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { PersonalField } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { brake, entry, hold, settled } from "./entry.ts";

let dir: string;
let store: Store;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-personal-"));
  store = openSqlite(join(dir, "ledger.db"));
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

const values: Partial<Record<PersonalField, string | Uint8Array>> = {
  [PersonalField.SUBJECT]: "alice@canary",
  [PersonalField.TOKEN_ID]: "token-canary",
  [PersonalField.SOURCE_ADDRESS]: "2001:db8::canary",
  [PersonalField.REASON]: "reason-canary",
  [PersonalField.MESSAGE]: "message-canary",
  [PersonalField.DECISION_MESSAGE]: "decision-canary",
  [PersonalField.REQUEST_DIGEST]: Uint8Array.from({ length: 32 }, (_, i) => 100 + i),
};
const full = (more: Partial<AuditEntry> = {}) =>
  entry({
    phase: Phase.INTENT,
    principal: {
      issuer: "https://issuer.example",
      subject: "alice@canary",
      roles: ["sre"],
      tokenId: "token-canary",
      sourceAddress: "2001:db8::canary",
    },
    reason: "reason-canary",
    message: "message-canary",
    decision: { allowed: true, message: "decision-canary" },
    requestDigest: values[PersonalField.REQUEST_DIGEST] as Uint8Array,
    ...(more as object),
  });

async function places(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(dir)) if ((await readFile(join(dir, name))).includes(text)) found.push(name);
  return found;
}

it("no personal value is in the bytes that are hashed; each has a commitment there that its salt opens", async () => {
  const [given] = await store.commit({ entries: [full()] });
  const stored = await store.storedEntry(given?.entryId ?? "");
  const { commitments, principal } = fromBinary(AuditEntrySchema, stored?.bytes ?? new Uint8Array());
  for (const value of Object.values(values)) {
    expect(Buffer.from(stored?.bytes ?? []).includes(value as string)).toBe(false);
  }
  expect(principal).toMatchObject({ issuer: "https://issuer.example", roles: ["sre"], subject: "" });
  expect(commitments.map(({ field }) => field)).toEqual(Object.keys(values).map(Number));
  expect(stored?.disclosures.map(({ field }) => field)).toEqual(Object.keys(values).map(Number));
  for (const [index, { field, salt, value }] of (stored?.disclosures ?? []).entries()) {
    expect(Buffer.from(value).equals(Buffer.from(values[field] ?? ""))).toBe(true);
    expect(salt).toHaveLength(16);
    const hash = createHash("sha256").update(salt).update(value).digest();
    expect(hash.equals(commitments[index]?.hash ?? new Uint8Array())).toBe(true);
  }
});

it("the same value has another salt and another commitment in each entry and each field", async () => {
  await store.commit({ entries: Array.from({ length: 600 }, () => full({ reason: "same", message: "same" })) });
  const all = await store.storedEntries(0n, 1000);
  const salts = all.flatMap(({ disclosures }) => disclosures.map(({ salt }) => Buffer.from(salt).toString("hex")));
  const hashes = all.flatMap(({ bytes }) =>
    fromBinary(AuditEntrySchema, bytes).commitments.map(({ hash }) => Buffer.from(hash).toString("hex")),
  );
  expect(new Set(salts).size).toBe(600 * 7);
  expect(new Set(hashes).size).toBe(600 * 7);
});

it("what is read has the values", async () => {
  const given = full();
  await store.commit({ entries: [given] });
  const { entries } = await store.listEntries({ subject: "alice@canary", limit: 10 });
  expect(entries).toEqual([{ ...given, sequence: 1n, commitments: expect.any(Array) }]);
});

it("an erased person is in no file any more, is found by no query, and no stored byte has changed", async () => {
  const bob = full({
    principal: { subject: "bob" } as never,
    reason: "of bob",
    message: "",
    decision: undefined as never,
  });
  const intent = full();
  await store.commit({ entries: [intent, bob, ...Array.from({ length: 1200 }, () => full({ phase: Phase.READ }))] });
  const engaged = { action: "brake.engaged", intentEntryId: intent.entryId, brakeId: "br_1" };
  await store.commit({
    entries: [
      entry({ ...engaged, phase: Phase.SYSTEM, message: "engaged by alice@canary", reason: "reason-canary" }),
      entry({
        phase: Phase.SYSTEM,
        brakeId: "br_1",
        action: "brake.standstill",
        message: "stands",
        reason: "reason-canary",
      }),
    ],
    brakes: [
      brake({ state: "RELEASED", engagedBy: "alice@canary", reason: "reason-canary" }),
      brake({ brakeId: "br_2", engagedBy: "alice@canary", reason: "still holds" }),
      brake({ brakeId: "br_3", engagedBy: "bob", reason: "of bob", state: "RELEASED" }),
    ],
    holds: [settled(hold())],
  });
  const before = await store.storedEntries(0n, 1000);
  expect(await places("alice@canary")).not.toEqual([]);

  const erasure = await store.eraseSubject("alice@canary");
  expect(erasure).toEqual({ entries: 1203, brakes: 1, keptBrakeIds: ["br_2"] });

  const after = await store.storedEntries(0n, 1000);
  expect(after.map(({ bytes }) => bytes)).toEqual(before.map(({ bytes }) => bytes));
  expect((await store.listEntries({ subject: "alice@canary", limit: 10 })).entries).toEqual([]);
  const { entries } = await store.listEntries({ limit: 1000 });
  expect(entries[0]).toMatchObject({ message: "stands", reason: "", commitments: [{}, {}] });
  expect(entries[1]).toMatchObject({ message: "", reason: "" });
  expect((await store.listEntries({ subject: "bob", limit: 10 })).entries).toMatchObject([{ reason: "of bob" }]);
  expect(await store.brake("br_1")).toMatchObject({ engagedBy: "(erased)", reason: "(erased)" });
  expect(await store.brake("br_3")).toMatchObject({ engagedBy: "bob", reason: "of bob" });

  // The brake that still holds keeps its author; once it is over, nothing is left anywhere.
  await store.commit({
    entries: [],
    brakes: [brake({ brakeId: "br_2", engagedBy: "alice@canary", state: "RELEASED" })],
  });
  expect(await store.eraseSubject("alice@canary")).toEqual({ entries: 0, brakes: 1, keptBrakeIds: [] });
  for (const text of Object.values(values)) if (typeof text === "string") expect(await places(text), text).toEqual([]);
});

it("the index alone does not tell who is in it, and is made anew where its secret is lost", async () => {
  await store.commit({ entries: [full()] });
  await expect.poll(() => keys().length).toBeGreaterThan(0);
  const before = keys();
  await store.close();
  await rm(join(dir, "ledger-index.key"));
  store = openSqlite(join(dir, "ledger.db"));
  await store.commit({ entries: [entry()] });
  expect((await store.listEntries({ subject: "alice@canary", limit: 10 })).entries).toHaveLength(1);
  await expect.poll(() => keys().length).toBeGreaterThan(before.length);
  // All the others are plain hashes.
  expect(before.filter((key) => !keys().includes(key))).toHaveLength(1);
});

function keys(): unknown[] {
  const db = new DatabaseSync(join(dir, "ledger.db"));
  const rows = db.prepare("SELECT key FROM entry_filter").all();
  db.close();
  return rows.map(({ key }) => key);
}
