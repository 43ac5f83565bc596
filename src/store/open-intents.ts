import type { DatabaseSync } from "node:sqlite";
import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { StoredEntries } from "./stored-entries.ts";

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
      add: db.prepare("INSERT INTO open_intent (sequence) VALUES (?)"),
      remove: db.prepare("DELETE FROM open_intent WHERE sequence = ?"),
    };
    this.reload();
  }

  /** Reads them from the database: after a transaction that did not come about. */
  reload(): void {
    this.#open = new Map(this.all().map(({ entryId, sequence }) => [entryId, Number(sequence)]));
  }

  /** Adds what these entries begin and removes what they end, within the transaction that is open. */
  note(entries: readonly AuditEntry[]): void {
    for (const { phase, entryId, intentEntryId, sequence } of entries) {
      if (phase === Phase.INTENT) {
        this.#open.set(entryId, Number(sequence));
        this.#sql.add.run(Number(sequence));
      } else if (phase === Phase.OUTCOME) {
        const begun = this.#open.get(intentEntryId);
        if (begun === undefined) continue;
        this.#open.delete(intentEntryId);
        this.#sql.remove.run(begun);
      }
    }
  }

  /** All of them, the oldest first. */
  all(): AuditEntry[] {
    return this.#sql.all.all().flatMap(({ sequence }) => this.#entries.get(Number(sequence)) ?? []);
  }
}
