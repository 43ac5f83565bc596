import type { DatabaseSync } from "node:sqlite";
import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { StoredEntries } from "./stored-entries.ts";

/** Rows that one statement adds: each statement costs as much as two of these rows. */
const rowsAtOnce = 32;

/** The INTENT entries that no OUTCOME has ended yet. */
export class OpenIntents {
  readonly #entries: StoredEntries;
  readonly #sql;
  /** Their ids → their sequences. */
  #open = new Map<string, number>();

  constructor(db: DatabaseSync, entries: StoredEntries) {
    this.#entries = entries;
    this.#sql = {
      all: db.prepare("SELECT sequence FROM open_intent ORDER BY sequence"),
      addOne: db.prepare("INSERT INTO open_intent (sequence) VALUES (?)"),
      add: db.prepare(`INSERT INTO open_intent (sequence) VALUES ${Array(rowsAtOnce).fill("(?)").join(", ")}`),
      remove: db.prepare("DELETE FROM open_intent WHERE sequence = ?"),
    };
    this.reload();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Reads them from the database: after a transaction that did not come about. */
  reload(): void {
    this.#open = new Map(this.all().map(({ entryId, sequence }) => [entryId, Number(sequence)]));
  }

  /** Adds what these entries begin and removes what they end, within the transaction that is open. */
  note(entries: readonly AuditEntry[]): void {
    const begun = new Map<string, number>();
    for (const { phase, entryId, intentEntryId, sequence } of entries) {
      if (phase === Phase.INTENT) begun.set(entryId, Number(sequence));
      else if (phase === Phase.OUTCOME && !begun.delete(intentEntryId)) this.#end(intentEntryId);
    }
    const rows = [...begun.values()];
    let at = 0;
    for (; at + rowsAtOnce <= rows.length; at += rowsAtOnce) this.#sql.add.run(...rows.slice(at, at + rowsAtOnce));
    for (const row of rows.slice(at)) this.#sql.addOne.run(row);
    for (const [entryId, sequence] of begun) this.#open.set(entryId, sequence);
  }

  #end(intentEntryId: string): void {
    const begun = this.#open.get(intentEntryId);
    if (begun === undefined) return;
    this.#open.delete(intentEntryId);
    this.#sql.remove.run(begun);
  }

  /** All of them, the oldest first. */
  all(): AuditEntry[] {
    return this.#sql.all.all().flatMap(({ sequence }) => this.#entries.get(Number(sequence)) ?? []);
  }
}
