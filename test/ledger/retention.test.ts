import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import {
  type AuditEntry,
  ExportAuditEntriesResponseSchema,
  AuditEntry_Phase as Phase,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Retention } from "../../src/ledger/retention.ts";
import { createLog } from "../../src/log.ts";
import { ExportVerifier, lineText } from "../../src/proof/export.ts";
import { LogKeys } from "../../src/proof/log-keys.ts";
import { verifyConsistency } from "../../src/proof/merkle.ts";
import { decodeEntry } from "../../src/proof/receipt.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { createServeDirectory } from "../fixture/serve-process.ts";
import { python } from "../proof/python.ts";
import { entry } from "../store/entry.ts";
import { ledgerDirectory, type OpenLedger } from "./ledger-directory.ts";

const dayMs = 24 * 60 * 60 * 1000;
const log = createLog("silent");

const retentionOf = (open: OpenLedger) => new Retention({ ...open, keepMs: dayMs, log });
const tomorrow = () => Date.now() + 2 * dayMs;

async function exportLines({ proofs }: OpenLedger, withNotes = true): Promise<string[]> {
  const { origin, after, range, entries, checkpoint, prunings, acknowledgements } = await proofs.export(0);
  const text = (line: object) => lineText(create(ExportAuditEntriesResponseSchema, { line: line as never }));
  const lines = [text({ case: "begin", value: { origin, after: BigInt(after), range: [...range] } })];
  for await (const { sequence, bytes } of entries) lines.push(text({ case: "entry", value: { sequence, bytes } }));
  const keyRotations = await proofs.rotations();
  const notes = withNotes ? { prunings, acknowledgements } : {};
  return [...lines, text({ case: "end", value: { checkpoint: checkpoint.note, keyRotations, ...notes } })];
}

it("keeps entries for seven years, or for as long as is configured", { timeout: 60_000 }, async () => {
  const server = await createServeDirectory();
  try {
    mkdirSync(join(server.dir, "data"), { mode: 0o700 });
    const store = openSqlite(join(server.dir, "data", "mission-control.db"));
    const aged = (days: number) =>
      Array.from({ length: 600 }, () => entry({ time: timestampFromMs(Date.now() - days * dayMs) }));
    await store.commit({ entries: [...aged(2558), ...aged(2556), ...aged(100)] });
    await store.close();
    const authorization = `Bearer ${await server.issuer.token({ subject: "anna", roles: ["auditor"] })}`;
    const pruned = async () => {
      const url = `http://127.0.0.1:${server.port}/v1/audit/entries?action=ledger.pruned`;
      const answer = await fetch(url, { headers: { authorization } });
      const { entries = [] } = (await answer.json()) as { entries?: { message: string }[] };
      return entries.map(({ message }) => message);
    };
    const first = await server.start(server.config());
    const sevenYears = expect.stringMatching(/^256 entries, up to entry 256, were older than 2557 days/);
    await expect.poll(pruned, { timeout: 20_000 }).toEqual([sevenYears]);
    first.child.kill("SIGTERM");
    await first.ended;
    await server.start({ ...server.config(), ledger: { retention: "200d" } });
    const configured = expect.stringMatching(/^512 entries, up to entry 768, were older than 200 days/);
    await expect.poll(pruned, { timeout: 20_000 }).toEqual([configured, sevenYears]);
  } finally {
    await server.remove();
  }
});

it("prunes what is too old from the front, with a signed note and an entry; all that is left is proved as before", async () => {
  const directory = ledgerDirectory();
  const open = await directory.open();
  await open.append(700);
  const early = await open.proofs.checkpoint(0);
  expect(await retentionOf(open).prune()).toBe(0);
  expect(await retentionOf(open).prune(tomorrow())).toBe(256);
  expect(await retentionOf(open).prune(tomorrow())).toBe(0);

  const [first] = await open.store.storedEntries(0n, 1);
  expect(first?.sequence).toBe(257n);
  // What told who and why is gone with them.
  const db = new DatabaseSync(directory.databasePath, { readOnly: true });
  expect({ ...db.prepare("SELECT min(sequence) AS first FROM personal").get() }).toEqual({ first: 257 });
  db.close();
  const { entries } = await open.store.listEntries({ limit: 1000 });
  expect(entries).toHaveLength(700 - 256 + 1);
  expect(entries[0]).toMatchObject({
    phase: Phase.SYSTEM,
    action: "ledger.pruned",
    message: expect.stringMatching(/^256 entries, up to entry 256,/),
  } satisfies Partial<Record<keyof AuditEntry, unknown>>);
  await open.close();

  // The key may be another one by now, and the database may be opened anew.
  const again = await directory.open();
  expect(again.proofs.fault).toBeUndefined();
  await again.proofs.rotateKey();
  await again.append(10);
  const { checkpoint, proof } = await again.proofs.checkpoint(700);
  const keys = new LogKeys(directory.key, await again.proofs.rotations());
  verifyConsistency({ size: 700, root: await rootAt(early.checkpoint.note) }, keys.open(checkpoint.note), proof);
  await again.proofs.prove(decodeEntry(first?.bytes ?? new Uint8Array()).entryId);

  const lines = await exportLines(again);
  const verifier = new ExportVerifier({ trusted: directory.key });
  for (const line of lines) verifier.line(line);
  expect(verifier.finish()).toMatchObject({ after: 256, entries: 700 - 256 + 11, prunings: [{ size: 256 }] });
  const file = join(directory.path, "pruned.jsonl");
  writeFileSync(file, `${lines.join("\n")}\n`);
  expect(await python(["export", file, "--key", directory.key.text])).toMatchObject({ code: 0 });

  // Entries that are missing without a note were not pruned by us.
  const silent = await exportLines(again, false);
  const other = new ExportVerifier({ trusted: directory.key });
  for (const line of silent) other.line(line);
  expect(() => other.finish()).toThrow(/no signed note says that the entries before were pruned/);
  writeFileSync(file, `${silent.join("\n")}\n`);
  expect((await python(["export", file, "--key", directory.key.text])).stderr).toMatch(/no signed note/);
  await again.close();
});

it("goes on where a crash ended it, and leaves what an open intent is in", async () => {
  const directory = ledgerDirectory();
  const open = await directory.open();
  await open.append(300);
  const intent = await open.ledger.append({ phase: Phase.INTENT, action: "runtime.pause" });
  await open.append(600);
  // The note was durable, and then the power went.
  expect(await open.proofs.prepareToPrune(280)).toBe(256);
  expect(await retentionOf(open).prune(tomorrow())).toBe(256);
  expect(await retentionOf(open).prune(tomorrow())).toBe(0);
  await open.ledger.append({ phase: Phase.OUTCOME, action: "runtime.pause", intentEntryId: intent.entryId });
  expect(await retentionOf(open).prune(tomorrow())).toBe(256);
  await open.close();
});

async function rootAt(note: string): Promise<Uint8Array> {
  return new Uint8Array(Buffer.from(note.split("\n")[2] ?? "", "base64"));
}
