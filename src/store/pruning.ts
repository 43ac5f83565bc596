import type { DatabaseSync } from "node:sqlite";
import { blockSize, type EntryIndex } from "./entry-index.ts";
import type { StoredEntries } from "./stored-entries.ts";

/** Entries that go in one transaction. */
const slice = 500;

/** Takes the oldest entries away, and what they were found by. Signed notes and the tree's hashes stay: they prove the rest. */
export class EntryPruning {
  readonly #entries: StoredEntries;
  readonly #index: EntryIndex;
  readonly #sql;

  constructor(db: DatabaseSync, entries: StoredEntries, index: EntryIndex) {
    this.#entries = entries;
    this.#index = index;
    this.#sql = {
      young: db.prepare("SELECT min(block) AS first FROM entry_block WHERE max_time >= ?"),
      newest: db.prepare("SELECT max(block) AS last FROM entry_block"),
      open: db.prepare("SELECT min(sequence) AS first FROM open_intent"),
      // Whoever may delete is told first: the triggers hold everything behind it.
      allow: db.prepare("UPDATE ledger_state SET pruned_to = ?"),
      entries: db.prepare("DELETE FROM entry WHERE sequence <= ?"),
      personal: db.prepare("DELETE FROM personal WHERE sequence <= ?"),
    };
  }

  /** The sequence up to which everything is older than that moment, and ended; the index has to know all entries. */
  olderThan(time: number): number {
    const first = this.#sql.young.get(time)?.first ?? Number(this.#sql.newest.get()?.last ?? 0);
    const open = this.#sql.open.get()?.first;
    const old = Number(first) * blockSize - 1;
    return Math.max(this.#entries.prunedTo, typeof open === "number" ? Math.min(old, open - 1) : old);
  }

  /** Takes some of the entries up to that one away, within the transaction that is open; true where none is left. */
  some(upTo: number): boolean {
    const from = this.#entries.prunedTo;
    const to = Math.min(upTo, from + slice);
    if (from >= to) return true;
    this.#index.forgetAll(from + 1, to);
    this.#sql.allow.run(to);
    this.#sql.entries.run(to);
    this.#sql.personal.run(to);
    return to === upTo;
  }
}
