import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  type AuditEntry,
  AuditEntrySchema,
  type ExportAuditEntriesResponse,
  ExportAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Disclosure } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { ExportEnd } from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { parseCheckpoint } from "../../src/proof/checkpoint.ts";
import { reveal } from "../../src/proof/disclosures.ts";
import { ExportVerifier, lineText } from "../../src/proof/export.ts";
import { parseNote } from "../../src/proof/note.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { decodeEntry } from "../../src/proof/receipt.ts";
import type { VerifierKey } from "../../src/proof/verifier-key.ts";
import { type Random, randomOf } from "../fixture/random.ts";
import { type LedgerDirectory, ledgerDirectory } from "../ledger/ledger-directory.ts";
import { python } from "./python.ts";

const count = 10_000;
/** Told where a mutation went unseen, so that it can be found again. */
const seed = Number(process.env.MC_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

interface Row {
  readonly bytes: Uint8Array;
  readonly disclosures: readonly Disclosure[];
}

/** A ledger as it is stored, and as somebody with the database in hand could export it. */
interface Stored {
  readonly rows: readonly Row[];
  readonly end: ExportEnd;
}

let key: VerifierKey;
let origin: string;
/** The ledger at three moments; the last is what was published. */
let moments: Stored[];
let published: string;

async function prepare(directory: LedgerDirectory): Promise<void> {
  const { append, proofs, store, close } = await directory.open();
  const moment = async (): Promise<Stored> => {
    const { entries, checkpoint, prunings, acknowledgements } = await proofs.export(0);
    const rows: Row[] = [];
    for await (const row of entries) rows.push(row);
    const keyRotations = await proofs.rotations();
    const end = { checkpoint: checkpoint.note, keyRotations, prunings, acknowledgements };
    return { rows, end: { $typeName: "missioncontrol.v1.ExportEnd", ...end } };
  };
  await append(6);
  moments = [await moment()];
  await proofs.rotateKey();
  await append(5);
  moments.push(await moment());
  await append(5);
  moments.push(await moment());
  published = moments[2]?.end.checkpoint ?? "";
  key = directory.key;
  origin = key.name;
  expect(store.head).toBe(16n);
  await close();
}

test(`${count} mutations of a stored ledger, and of an export of it, are all found, by both verifiers`, async () => {
  const directory = ledgerDirectory();
  await prepare(directory);
  const base = linesOf(moments[2] as Stored);
  expect(verified(base)).toBe("");
  const random = randomOf(seed);
  const mutations = Array.from({ length: count }, () => mutated(base, random));
  const unseen = mutations.filter(({ lines }) => verified(lines) === "");
  expect({ seed, unseen: unseen.map(({ name }) => name) }).toEqual({ seed, unseen: [] });

  const places = new Map(base.map((line, place) => [line, place]));
  const variant = (lines: readonly string[]) => JSON.stringify(lines.map((line) => places.get(line) ?? line));
  const given = JSON.stringify({ key: key.text, seen: [published], lines: base });
  const input = [given, variant(base), ...mutations.map(({ lines }) => variant(lines))].join("\n");
  const { code, stdout, stderr } = await python(["batch"], `${input}\n`);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [unchanged, ...results] = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as string);
  expect(unchanged).toBe("");
  expect(results).toHaveLength(count);
  const unseenThere = mutations.filter((_, n) => results[n] === "");
  expect({ seed, unseen: unseenThere.map(({ name }) => name) }).toEqual({ seed, unseen: [] });
  // Every kind was among them, many times over.
  const kinds = Object.groupBy(mutations, ({ name }) => name);
  expect(Object.keys(kinds).sort()).toEqual([...Object.keys(inStore), ...Object.keys(inFile)].sort());

  // And the batch says what the script says of a file.
  const file = join(directory.path, "export.jsonl");
  writeFileSync(file, `${base.join("\n")}\n`);
  expect(await python(["export", file, "--key", key.text])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/"verified":true.*"treeSize":16,"entries":16/),
  });
  writeFileSync(file, base.join("\n"));
  expect(await python(["export", file, "--key", key.text])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/cut off/),
  });
}, 120_000);

/** Why the lines do not verify; "" where they do. */
function verified(lines: readonly string[]): string {
  const verifier = new ExportVerifier({ trusted: key, seen: [parseCheckpoint(parseNote(published).text)] });
  try {
    for (const line of lines) verifier.line(line);
    verifier.finish();
    return "";
  } catch (error) {
    if (error instanceof ProofError) return error.message;
    throw error;
  }
}

/** What somebody does to the database: the export is then written as a server would, with every line in itself right. */
const inStore: Record<string, (stored: Stored, random: Random) => Stored> = {
  "a bit of an entry": (stored, random) =>
    change(stored, random, (row) => ({ ...row, bytes: flipped(row.bytes, random) })),
  "a field of an entry": (stored, random) =>
    change(stored, random, (row) => {
      const entry = decodeEntry(row.bytes);
      const fields = [
        { action: "runtime.list2" },
        { callId: "call-99" },
        { resultCode: "OK" },
        { phase: 3 },
        { emergency: true },
        { time: { $typeName: "google.protobuf.Timestamp", seconds: BigInt(random(2 ** 31)), nanos: 0 } },
      ] as const;
      return { ...row, bytes: encoded({ ...entry, ...(fields[random(fields.length)] as Partial<AuditEntry>) }) };
    }),
  "a personal value": (stored, random) =>
    change(stored, random, (row) => {
      const at = random(row.disclosures.length);
      const disclosure = row.disclosures[at] as Disclosure;
      const part =
        random(2) === 0 ? { value: flipped(disclosure.value, random) } : { salt: flipped(disclosure.salt, random) };
      return { ...row, disclosures: row.disclosures.with(at, { ...disclosure, ...part }) };
    }),
  "an entry deleted": (stored, random) => ({ ...stored, rows: stored.rows.toSpliced(random(stored.rows.length), 1) }),
  "an entry deleted, the others counted anew": (stored, random) => ({
    ...stored,
    rows: counted(stored.rows.toSpliced(random(stored.rows.length), 1)),
  }),
  "an entry added": (stored, random) => {
    const at = random(stored.rows.length);
    return { ...stored, rows: counted(stored.rows.toSpliced(at, 0, stored.rows[at] as Row)) };
  },
  "two entries swapped": (stored, random) => ({ ...stored, rows: swapped(stored.rows, random) }),
  "two entries swapped, and counted anew": (stored, random) => ({
    ...stored,
    rows: counted(swapped(stored.rows, random)),
  }),
  "the newest entries cut off": (stored, random) => ({
    ...stored,
    rows: stored.rows.slice(0, random(stored.rows.length)),
  }),
  "the oldest entries cut off": (stored, random) => ({ ...stored, rows: stored.rows.slice(1 + random(5)) }),
  "rolled back to an old copy": (_, random) => moments[random(2)] as Stored,
  "old entries with the new end": (stored, random) => ({ ...(moments[random(2)] as Stored), end: stored.end }),
  "new entries with an old end": (stored, random) => ({ ...stored, end: (moments[random(2)] as Stored).end }),
  "a note edited": (stored, random) => {
    const { checkpoint, keyRotations } = stored.end;
    const edit = (note: string) => typed(note, random);
    const end = random(2) === 0 ? { checkpoint: edit(checkpoint) } : { keyRotations: keyRotations.map(edit) };
    return { ...stored, end: { ...stored.end, ...end } };
  },
  "a note added": (stored) => ({
    ...stored,
    end: { ...stored.end, keyRotations: [...stored.end.keyRotations, ...stored.end.keyRotations] },
  }),
};

/** What somebody does to the file. */
const inFile: Record<string, (lines: readonly string[], random: Random) => readonly string[]> = {
  "a character typed over": (lines, random) => typed(lines.join("\n"), random).split("\n"),
  "characters removed": (lines, random) => {
    const text = lines.join("\n");
    const at = random(text.length);
    return (text.slice(0, at) + text.slice(at + 1 + random(40))).split("\n");
  },
  "cut off": (lines, random) => {
    const text = lines.join("\n");
    return text.slice(0, random(text.length)).split("\n");
  },
  "a line twice": (lines, random) => {
    const at = random(lines.length);
    return lines.toSpliced(at, 0, lines[at] as string);
  },
  "a line removed": (lines, random) => lines.toSpliced(random(lines.length), 1),
  "two lines swapped": (lines, random) => swapped(lines, random),
};

function mutated(base: readonly string[], random: Random): { name: string; lines: readonly string[] } {
  for (;;) {
    const kinds = [...Object.entries(inStore), ...Object.entries(inFile)];
    const [name] = kinds[random(kinds.length)] as [string, unknown];
    const store = inStore[name];
    const lines = store ? linesOf(store(moments[2] as Stored, random)) : (inFile[name]?.(base, random) ?? base);
    // Two alike that were swapped, say.
    if (lines.join("\n") !== base.join("\n")) return { name, lines };
  }
}

function linesOf({ rows, end }: Stored): string[] {
  return [
    lineOf({ case: "begin", value: { $typeName: "missioncontrol.v1.ExportBegin", origin, after: 0n, range: [] } }),
    ...rows.map((row, n) => entryLine(row, BigInt(n + 1))),
    lineOf({ case: "end", value: end }),
  ];
}

const known = new Map<Row, string>();

function entryLine(row: Row, sequence: bigint): string {
  const found = known.get(row);
  if (found !== undefined) return found;
  const { bytes, disclosures: left } = row;
  const written = (entry: AuditEntry | undefined) => {
    const value = { sequence: entry?.sequence ?? sequence, bytes, disclosures: [...left], ...(entry && { entry }) };
    return lineOf({ case: "entry", value: { $typeName: "missioncontrol.v1.ExportedEntry", ...value } });
  };
  let line: string;
  try {
    line = written(reveal(decodeEntry(bytes), left));
  } catch {
    // It can be read no more.
    line = written(undefined);
  }
  known.set(row, line);
  return line;
}

function lineOf(line: ExportAuditEntriesResponse["line"]): string {
  return lineText(create(ExportAuditEntriesResponseSchema, { line }));
}

function change(stored: Stored, random: Random, edit: (row: Row) => Row): Stored {
  const at = random(stored.rows.length);
  return { ...stored, rows: stored.rows.with(at, edit(stored.rows[at] as Row)) };
}

function counted(rows: readonly Row[]): Row[] {
  return rows.map((row, n) => {
    const entry = decodeEntry(row.bytes);
    return entry.sequence === BigInt(n + 1) ? row : { ...row, bytes: encoded({ ...entry, sequence: BigInt(n + 1) }) };
  });
}

function encoded(entry: AuditEntry): Uint8Array {
  return toBinary(AuditEntrySchema, entry);
}

function swapped<T>(values: readonly T[], random: Random): T[] {
  const [a, b] = [random(values.length), random(values.length)];
  return values.with(a, values[b] as T).with(b, values[a] as T);
}

function flipped(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length);
  return new Uint8Array(bytes).with(at, (bytes[at] ?? 0) ^ (1 << random(8)));
}

function typed(text: string, random: Random): string {
  const at = random(text.length);
  return text.slice(0, at) + String.fromCharCode(0x20 + random(0x5f)) + text.slice(at + 1);
}
