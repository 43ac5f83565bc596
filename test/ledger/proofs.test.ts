import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as immediate } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AuditReceiptSchema } from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import type { ProvedEntry } from "../../src/ledger/proofs.ts";
import { LogKeys } from "../../src/proof/log-keys.ts";
import { verifyConsistency } from "../../src/proof/merkle.ts";
import { parseNote } from "../../src/proof/note.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { decodeEntry, verifyReceipt } from "../../src/proof/receipt.ts";
import { parseVerifierKey } from "../../src/proof/verifier-key.ts";
import { type LedgerDirectory, ledgerDirectory } from "./ledger-directory.ts";

function receiptOf({ entry, proof, checkpoint }: ProvedEntry, keyRotations: string[] = []) {
  return create(AuditReceiptSchema, {
    entryId: decodeEntry(entry.bytes).entryId,
    entry: entry.bytes,
    leafIndex: entry.sequence - 1n,
    inclusionProof: [...proof],
    checkpoint: checkpoint.note,
    keyRotations,
  });
}

const published = (directory: LedgerDirectory) =>
  new LogKeys(directory.key).open(readFileSync(directory.checkpointPath, "utf8"));

/** Somebody with the database in hand. */
function edit(directory: LedgerDirectory, sql: string): void {
  const db = new DatabaseSync(directory.databasePath);
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) {
    db.exec(`DROP TRIGGER ${name}`);
  }
  db.exec("PRAGMA foreign_keys = OFF");
  db.exec(sql);
  db.close();
}

describe("the proofs over a ledger", () => {
  it("follow every entry with a published checkpoint within a second or so, without being asked", async () => {
    const directory = ledgerDirectory();
    const { append, close } = await directory.open();
    await append(3);
    await expect.poll(() => published(directory).size, { timeout: 5_000 }).toBe(3);
    await append(2);
    await expect.poll(() => published(directory).size, { timeout: 5_000 }).toBe(5);
    await close();
  });

  it("prove each entry at once, to whoever has the public key, and survive a restart", async () => {
    const directory = ledgerDirectory();
    const first = await directory.open();
    await first.append(300);
    const early = await first.proofs.checkpoint(0);
    await first.append(400);
    const ids = (await first.store.storedEntries(0n, 1000)).map(({ bytes }) => decodeEntry(bytes).entryId);
    for (const at of [0, 1, 255, 256, 299, 300, 511, 512, 699]) {
      const { entry } = verifyReceipt(receiptOf(await first.proofs.prove(ids[at] as string)), directory.key);
      expect(entry).toMatchObject({ entryId: ids[at], sequence: BigInt(at + 1) });
    }
    await first.close();

    const second = await directory.open();
    await second.append(1);
    const { checkpoint, proof } = await second.proofs.checkpoint(early.checkpoint.size);
    const keys = new LogKeys(directory.key);
    expect(keys.open(checkpoint.note).size).toBe(701);
    verifyConsistency(keys.open(early.checkpoint.note), keys.open(checkpoint.note), proof);
    verifyReceipt(receiptOf(await second.proofs.prove(ids[299] as string)), directory.key);
    await second.close();
  });

  it("prove nothing else: a receipt with anything changed is refused", async () => {
    const directory = ledgerDirectory();
    const { append, proofs, store, close } = await directory.open();
    await append(20);
    const [, , third] = await store.storedEntries(0n, 20);
    const receipt = receiptOf(await proofs.prove(decodeEntry(third?.bytes ?? new Uint8Array()).entryId));
    const other = ledgerDirectory();
    await (await other.open()).close();
    await close();
    expect(() => verifyReceipt(receipt, other.key)).toThrow(ProofError);
    const changed = [
      { ...receipt, entry: receipt.entry.with(30, (receipt.entry[30] ?? 0) ^ 1) },
      { ...receipt, leafIndex: 3n },
      { ...receipt, entryId: "ae_other" },
      { ...receipt, inclusionProof: receipt.inclusionProof.toReversed() },
      { ...receipt, inclusionProof: receipt.inclusionProof.slice(1) },
      { ...receipt, checkpoint: receipt.checkpoint.replace("\n20\n", "\n21\n") },
    ];
    for (const one of changed)
      expect(() => verifyReceipt(create(AuditReceiptSchema, one), directory.key)).toThrow(ProofError);
  });

  it("keep the key to themselves", async () => {
    const directory = ledgerDirectory();
    await (await directory.open()).close();
    expect(statSync(join(directory.path, "ledger-key")).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory.path, "ledger-key", "private.jwk.json")).mode & 0o777).toBe(0o600);
  });
});

describe("a ledger that is not what was published", () => {
  async function published20() {
    const directory = ledgerDirectory();
    const before = await directory.open();
    await before.append(600);
    await before.close();
    const restore = directory.backUp();
    const after = await directory.open();
    await after.append(20);
    await after.close();
    return { directory, restore };
  }

  const harms: Record<
    string,
    { harm: (given: { directory: LedgerDirectory; restore: () => void }) => void; found: RegExp }
  > = {
    "an old copy of the database": {
      harm: ({ restore }) => restore(),
      found: /rolled back: it had 620 .* has 600 now/,
    },
    "no database at all": {
      harm: ({ directory }) => rmSync(directory.databasePath),
      found: /rolled back: it had 620 .* has 0 now/,
    },
    "an old entry edited": {
      harm: ({ directory }) =>
        edit(directory, "UPDATE entry SET bytes = CAST(replace(bytes, 'call-7', 'call-8') AS BLOB) WHERE sequence = 8"),
      found: /entry 8 was edited/,
    },
    "a new entry edited": {
      harm: ({ directory }) =>
        edit(
          directory,
          "UPDATE entry SET bytes = CAST(replace(bytes, 'call-1', 'call-2') AS BLOB) WHERE sequence = 602",
        ),
      found: /not those that a checkpoint was signed over/,
    },
    "an entry deleted": {
      harm: ({ directory }) => edit(directory, "DELETE FROM entry WHERE sequence = 100"),
      found: /entry 100 is missing/,
    },
    "a tile edited": {
      harm: ({ directory }) =>
        edit(directory, "UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND position = 0"),
      found: /not those that a checkpoint was signed over|was edited/,
    },
    "an edited checkpoint": {
      harm: ({ directory }) => {
        const note = readFileSync(directory.checkpointPath, "utf8");
        writeFileSync(directory.checkpointPath, note.replace("\n620\n", "\n600\n"));
      },
      found: /signature .* is wrong/,
    },
    "another key": {
      harm: ({ directory }) => rmSync(join(directory.path, "ledger-key"), { recursive: true }),
      found: /the checkpoint is of the log/,
    },
  };

  it.each(Object.entries(harms))("(%s) is found at the start, and nothing is appended", async (_, { harm, found }) => {
    const given = await published20();
    harm(given);
    const { ledger, proofs, close } = await given.directory.open();
    expect(proofs.fault).toMatchObject({ reason: "LEDGER_TAMPERED", message: expect.stringMatching(found) });
    await expect(ledger.append({ action: "runtime.pause" })).rejects.toMatchObject({ reason: "LEDGER_TAMPERED" });
    await expect(proofs.checkpoint(0)).rejects.toMatchObject({ reason: "LEDGER_TAMPERED" });
    await close();
  });

  it("goes on once that is acknowledged, with a signed note of it, and is held against the new state from then on", async () => {
    const { directory, restore } = await published20();
    restore();
    const acknowledged = await directory.open({ acknowledge: "disk died, INC-7" });
    expect(acknowledged.proofs.fault).toBeUndefined();
    expect(acknowledged.proofs.acknowledged).toMatchObject({
      reason: "disk died, INC-7",
      found: expect.stringMatching(/rolled back/),
    });
    await acknowledged.append(1);
    await acknowledged.close();
    expect(published(directory).size).toBe(601);

    const next = await directory.open();
    expect(next.proofs.fault).toBeUndefined();
    expect(next.proofs.acknowledged).toBeUndefined();
    const { acknowledgements } = await next.proofs.export(0);
    expect(acknowledgements).toMatchObject([expect.stringContaining("disk died, INC-7")]);
    await next.close();
  });

  it("that was rolled back to before its key was rotated goes on too: who trusts any of the keys follows", async () => {
    const directory = ledgerDirectory();
    const first = await directory.open();
    await first.append(300);
    const oldest = directory.key;
    await first.proofs.rotateKey();
    await first.append(10);
    await first.close();
    const restore = directory.backUp();
    const later = await directory.open();
    await later.proofs.rotateKey();
    await later.proofs.rotateKey();
    await later.close();
    restore();
    // As many entries as before: nothing is missing but the rotations.
    const found = await directory.open();
    expect(found.proofs.fault?.message).toMatch(/rolled back to before the log's key was rotated/);
    await found.close();
    const acknowledged = await directory.open({ acknowledge: "disk died" });
    await acknowledged.append(1);
    await acknowledged.close();

    const next = await directory.open();
    expect(next.proofs.fault).toBeUndefined();
    const { checkpoint } = await next.proofs.checkpoint(0);
    const rotations = await next.proofs.rotations();
    expect(rotations).toHaveLength(3);
    for (const key of [oldest, directory.key]) expect(new LogKeys(key, rotations).open(checkpoint.note).size).toBe(311);
    await next.close();
  });

  it("that lacks an entry in its middle does not go on, whatever is acknowledged", async () => {
    const { directory } = await published20();
    edit(directory, "DELETE FROM entry WHERE sequence = 100");
    await expect(directory.open({ acknowledge: "we want to" })).rejects.toThrow(/entry 100 is missing/);
  });
});

describe("the log's key", () => {
  it("signs no tree that grew after its rotation, whatever is written and asked for meanwhile", async () => {
    const directory = ledgerDirectory();
    const { append, proofs, store, close } = await directory.open();
    await append(3);
    const { putCheckpoint, putNote } = store.proofs;
    const notes: string[] = [];
    Object.assign(store.proofs, {
      putCheckpoint: (...[checkpoint, tiles]: Parameters<typeof putCheckpoint>) => {
        notes.push(checkpoint.note);
        return putCheckpoint(checkpoint, tiles);
      },
      putNote: async (...call: Parameters<typeof putNote>) => {
        await putNote(...call);
        await append(2);
        void proofs.checkpoint(0);
        // As many turns as a checkpoint takes that nothing keeps.
        for (let turn = 0; turn < 100; turn++) await immediate();
      },
    });
    await proofs.rotateKey();
    await proofs.checkpoint(0);
    const rotations = await proofs.rotations();
    const [, from = ""] = parseNote(rotations[0] ?? "").text.split("\n");
    const keys = new LogKeys(parseVerifierKey(from), rotations);
    expect(notes.map((note) => keys.open(note).size)).toEqual([3, 5]);
    await close();
  });

  it("is followed by a new one: who trusts the old key trusts the new one by the note that both signed", async () => {
    const directory = ledgerDirectory();
    const open = await directory.open();
    const { append, proofs, store } = open;
    const old = directory.key;
    await append(5);
    await proofs.rotateKey();
    expect(directory.key.text).not.toBe(old.text);
    expect(directory.key.name).toBe(old.name);
    await append(5);
    const [entry] = await store.storedEntries(8n, 1);
    const proved = await proofs.prove(decodeEntry(entry?.bytes ?? new Uint8Array()).entryId);
    const rotations = await proofs.rotations();
    expect(rotations).toHaveLength(1);
    verifyReceipt(receiptOf(proved, rotations), old);
    verifyReceipt(receiptOf(proved), directory.key);
    expect(() => verifyReceipt(receiptOf(proved), old)).toThrow(ProofError);
    await open.close();
    const next = await directory.open();
    expect(next.proofs.fault).toBeUndefined();
    await next.proofs.rotateKey();
    await next.append(1);
    expect(new LogKeys(directory.key).open((await next.proofs.checkpoint(0)).checkpoint.note).size).toBe(11);
    await next.close();
  });
});

describe("pruning", () => {
  it("keeps every later proof, and leaves a signed note", async () => {
    const directory = ledgerDirectory();
    const first = await directory.open();
    await first.append(700);
    const early = await first.proofs.checkpoint(0);
    expect(await first.proofs.prepareToPrune(600)).toBe(512);
    await first.close();
    edit(directory, "DELETE FROM open_intent; DELETE FROM entry WHERE sequence <= 512");
    const { proofs, append, store, close } = await directory.open();
    expect(proofs.fault).toBeUndefined();
    await append(10);
    const { checkpoint, proof } = await proofs.checkpoint(700);
    const keys = new LogKeys(directory.key);
    verifyConsistency(keys.open(early.checkpoint.note), keys.open(checkpoint.note), proof);
    const [entry] = await store.storedEntries(512n, 1);
    verifyReceipt(receiptOf(await proofs.prove(decodeEntry(entry?.bytes ?? new Uint8Array()).entryId)), directory.key);
    const { after, prunings } = await proofs.export(0);
    expect({ after, prunings: prunings.length }).toEqual({ after: 512, prunings: 1 });
    await close();
  });
});
