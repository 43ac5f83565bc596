import type { DatabaseSync } from "node:sqlite";
import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type Disclosure, DisclosuresSchema } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { reveal } from "../proof/disclosures.ts";
import { createEncoder } from "./message-encoder.ts";
import { conceal, personalFields } from "./personal.ts";
import type { StoredEntry } from "./store.ts";

const encodeEntry = createEncoder(AuditEntrySchema, { without: personalFields });
const encodeDisclosures = createEncoder(DisclosuresSchema);

/** Rows that one statement inserts: each statement costs as much as half a row. */
const rowsAtOnce = 16;

/** The entries of the ledger, as they are stored: their bytes, and beside them what of their personal values is left. */
export class StoredEntries {
  readonly #sql;
  #head: number;
  #prunedTo: number;

  constructor(db: DatabaseSync) {
    const many = (sql: string, rows: number) => db.prepare(`${sql} ${Array(rows).fill("(?, ?)").join(", ")}`);
    const insertEntries = "INSERT INTO entry (sequence, bytes) VALUES";
    const insertPersonal = "INSERT INTO personal (sequence, disclosures) VALUES";
    this.#sql = {
      state: db.prepare(
        "SELECT pruned_to, coalesce((SELECT max(sequence) FROM entry), pruned_to) AS head FROM ledger_state",
      ),
      insertEntry: many(insertEntries, 1),
      insertEntries: many(insertEntries, rowsAtOnce),
      insertOnePersonal: many(insertPersonal, 1),
      insertPersonal: many(insertPersonal, rowsAtOnce),
      get: db.prepare(
        "SELECT sequence, bytes, disclosures FROM entry LEFT JOIN personal USING (sequence) WHERE sequence = ?",
      ),
      after: db.prepare(
        `SELECT sequence, bytes, disclosures FROM entry LEFT JOIN personal USING (sequence)
         WHERE sequence > ? ORDER BY sequence LIMIT ?`,
      ),
      setPersonal: db.prepare("UPDATE personal SET disclosures = ? WHERE sequence = ?"),
      erase: db.prepare("DELETE FROM personal WHERE sequence = ?"),
    };
    this.#head = 0;
    this.#prunedTo = 0;
    this.reload();
  }

  /** The sequence of the newest entry; 0: there is none. */
  get head(): number {
    return this.#head;
  }

  /** Entries up to this sequence are gone. */
  get prunedTo(): number {
    return this.#prunedTo;
  }

  /** Asks the database where the ledger ends and begins: after a transaction that did not come about. */
  reload(): void {
    const state = this.#sql.state.get();
    this.#head = Number(state?.head);
    this.#prunedTo = Number(state?.pruned_to);
  }

  /** Appends entries within the transaction that is open; returns them with their sequence. */
  append(entries: readonly AuditEntry[]): AuditEntry[] {
    const [rows, personal]: [(number | Uint8Array)[], (number | Uint8Array)[]] = [[], []];
    const appended = entries.map((given, index) => {
      const sequence = this.#head + index + 1;
      const entry: AuditEntry = { ...given, sequence: BigInt(sequence) };
      const { commitments, disclosures } = conceal(entry);
      entry.commitments = commitments;
      rows.push(sequence, encodeEntry(entry));
      if (disclosures.length > 0) personal.push(sequence, disclosures);
      return entry;
    });
    insert(rows, this.#sql.insertEntries, this.#sql.insertEntry);
    insert(personal, this.#sql.insertPersonal, this.#sql.insertOnePersonal);
    this.#head += entries.length;
    return appended;
  }

  /** One entry with the values that are left. */
  get(sequence: number): AuditEntry | undefined {
    const stored = this.stored(sequence);
    return stored && reveal(fromBinary(AuditEntrySchema, stored.bytes), stored.disclosures);
  }

  /** One entry as it is stored. */
  stored(sequence: number): StoredEntry | undefined {
    const row = this.#sql.get.get(sequence);
    return row && toStored(row);
  }

  /** Entries as they are stored, the oldest first. */
  after(sequence: number, limit: number): StoredEntry[] {
    return this.#sql.after.all(sequence, limit).map(toStored);
  }

  /** Keeps only these of an entry's personal values, within the transaction that is open. */
  keepPersonal(sequence: number, disclosures: Disclosure[]): void {
    if (disclosures.length === 0) this.#sql.erase.run(sequence);
    else {
      const bytes = encodeDisclosures({ $typeName: "missioncontrol.v1.Disclosures", disclosures });
      this.#sql.setPersonal.run(bytes, sequence);
    }
  }
}

type Statement = ReturnType<DatabaseSync["prepare"]>;

/** Inserts rows of two columns each. */
function insert(values: (number | Uint8Array)[], many: Statement, one: Statement): void {
  let at = 0;
  for (; at + 2 * rowsAtOnce <= values.length; at += 2 * rowsAtOnce) many.run(...values.slice(at, at + 2 * rowsAtOnce));
  for (; at < values.length; at += 2) one.run(values[at] ?? null, values[at + 1] ?? null);
}

function toStored(row: Record<string, unknown>): StoredEntry {
  const { sequence, bytes, disclosures } = row;
  return {
    sequence: BigInt(sequence as number),
    bytes: bytes as Uint8Array,
    disclosures: disclosures ? fromBinary(DisclosuresSchema, disclosures as Uint8Array).disclosures : [],
  };
}
