import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Logger } from "../log.ts";
import type { Change, Store } from "../store/store.ts";
import { boundedEntry, type EntryInit } from "./bounds.ts";
import { createEntryIds } from "./entry-id.ts";

export type { EntryInit } from "./bounds.ts";

/**
 * The ledger's protocol: INTENT, durable → effect → OUTCOME. Denials and reads are entries too. Whatever else changes with
 * an entry (`also`) commits in the same transaction.
 */
export interface Ledger {
  /** Appends one entry; resolves when it is durable. Rejects with LEDGER_UNAVAILABLE: then nothing of it was written. */
  append(entry: EntryInit, also?: Omit<Change, "entries">): Promise<AuditEntry>;
  /** Undefined while the ledger can be written; otherwise since when and why not. */
  readonly fault: { readonly since: Date; readonly message: string } | undefined;
}

/** The ledger over a store. It cuts free text to what an entry may hold, and remembers since when it cannot be written. */
export function createLedger(store: Store, log: Logger): Ledger {
  const nextId = createEntryIds();
  let fault: Ledger["fault"];

  return {
    async append(init, also) {
      const now = Date.now();
      const entry = boundedEntry(init, nextId(now), now);
      let stored: AuditEntry | undefined;
      try {
        [stored] = await store.commit({ ...also, entries: [entry] });
      } catch (error) {
        // Told once, not for every call that it refuses.
        if (fault === undefined) log.error({ err: error }, "the ledger cannot be written: control calls are refused");
        fault ??= { since: new Date(now), message: error instanceof Error ? error.message : String(error) };
        throw error;
      }
      if (fault !== undefined) {
        log.warn({ since: fault.since.toISOString() }, "the ledger can be written again");
        fault = undefined;
      }
      if (stored === undefined) throw new Error("the store acknowledged a change without its entry");
      return stored;
    },
    get fault() {
      return fault;
    },
  };
}
