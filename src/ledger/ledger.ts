import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AuditEntry, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Change } from "../store/store.ts";

/** What the writer of an entry sets; the ledger adds entry_id, sequence and time. */
export type EntryInit = Omit<MessageInitShape<typeof AuditEntrySchema>, "entryId" | "sequence" | "time">;

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
