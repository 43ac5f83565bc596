import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ExportAuditEntriesResponseSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../../src/errors.ts";
import { ExportVerifier, lineText } from "../../src/proof/export.ts";
import { LogKeys } from "../../src/proof/log-keys.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { decodeEntry } from "../../src/proof/receipt.ts";
import { randomOf } from "../fixture/random.ts";
import { type LedgerDirectory, ledgerDirectory, type OpenLedger } from "./ledger-directory.ts";

const entries = 300;
/** So many within the bytes of entries, and so many anywhere in the file. */
const flips = { entries: 150, anywhere: 150 } as const;
/** Told where a flip went unseen, so that it can be found again. */
const seed = Number(process.env.MC_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

/** The lines of an export, as a server over that store writes them. */
async function exported({ proofs }: OpenLedger): Promise<string[]> {
  const { origin, after, range, entries, checkpoint, ...notes } = await proofs.export(0);
  const text = (line: object) => lineText(create(ExportAuditEntriesResponseSchema, { line: line as never }));
  const lines = [text({ case: "begin", value: { origin, after: BigInt(after), range: [...range] } })];
  for await (const { sequence, bytes, disclosures } of entries) {
    lines.push(text({ case: "entry", value: { sequence, bytes, disclosures } }));
  }
  return [...lines, text({ case: "end", value: { checkpoint: checkpoint.note, ...notes } })];
}

test(`${flips.entries + flips.anywhere} flipped bits of the database's file: each is found by SQLite, at the start or by whoever verifies, or changes nothing`, async () => {
  const directory = ledgerDirectory();
  const before = await directory.open();
  await before.append(entries);
  const base = await exported(before);
  const stored = (await before.store.storedEntries(0n, 1000)).map(({ bytes }) => bytes);
  await before.close();
  const published = new LogKeys(directory.key).open(readFileSync(directory.checkpointPath, "utf8"));
  expect(published.size).toBe(entries);
  const good = readFileSync(directory.databasePath);
  cpSync(`${directory.path}/checkpoints`, `${directory.path}/published`, { recursive: true });
  const places = stored.map((bytes) => ({ at: good.indexOf(bytes), length: bytes.length }));
  expect(places.filter(({ at }) => at === -1)).toEqual([]);

  const verify = (lines: readonly string[]) => {
    const verifier = new ExportVerifier({ trusted: directory.key, seen: [published] });
    for (const line of lines) verifier.line(line);
    verifier.finish();
  };
  verify(base);
  const whatFound = async (bit: number): Promise<string> => {
    restore(directory, good, bit);
    let open: OpenLedger | undefined;
    try {
      open = await directory.open();
      if (open.proofs.fault) return "the start";
      const lines = await exported(open);
      if (lines.join() === base.join()) return "nothing to find";
      verify(lines);
      // A personal value may be erased without breaking a proof: one that is gone is not told from one that was.
      return withoutPersonal(lines) === withoutPersonal(base) ? "a personal value is gone" : "nobody";
    } catch (error) {
      if (error instanceof ProofError) return "whoever verifies";
      if (error instanceof MissionControlError || isSqlite(error)) return "SQLite";
      throw error;
    } finally {
      await open?.close();
    }
  };

  const random = randomOf(seed);
  const found = new Map<string, number[]>();
  const flip = async (bit: number, kind: string) => {
    const by = await whatFound(bit);
    found.set(`${kind}: ${by}`, [...(found.get(`${kind}: ${by}`) ?? []), bit]);
  };
  for (let n = 0; n < flips.entries; n++) {
    const { at, length } = places[random(places.length)] ?? { at: 0, length: 0 };
    await flip((at + random(length)) * 8 + random(8), "entry");
  }
  for (let n = 0; n < flips.anywhere; n++) await flip(random(good.length * 8), "anywhere");
  const unseen = ["entry: nobody", "entry: nothing to find", "anywhere: nobody"].flatMap(
    (kind) => found.get(kind) ?? [],
  );
  expect({ seed, unseen }).toEqual({ seed, unseen: [] });
  expect(found.get("entry: the start")?.length).toBeGreaterThan(flips.entries / 2);
  // What an entry says of itself is what it is kept as.
  expect(stored.map((bytes, n) => Number(decodeEntry(bytes).sequence) === n + 1)).not.toContain(false);
}, 120_000);

function withoutPersonal(lines: readonly string[]): string {
  return lines.join("\n").replaceAll(/,"disclosures":\[.*?\]/g, "");
}

/** The database as it was, but for one bit. */
function restore({ path, databasePath }: LedgerDirectory, good: Buffer, bit: number): void {
  for (const suffix of ["-wal", "-shm"]) rmSync(databasePath + suffix, { force: true });
  const bytes = Buffer.from(good);
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  writeFileSync(databasePath, bytes);
  cpSync(`${path}/published`, `${path}/checkpoints`, { recursive: true });
}

function isSqlite(error: unknown): boolean {
  return (error as { code?: string }).code === "ERR_SQLITE_ERROR";
}
