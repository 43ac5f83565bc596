import type { AuditEntry } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";

/** Where the ledger is streamed to. */
export interface Sink {
  /** Unique; the cursor is kept under it. */
  readonly name: string;
  /**
   * Delivers entries, the oldest first; resolves once the receiver has them for good. Rejects where it cannot be told: then they
   * come again, so that a receiver may get an entry twice, and tells the two by their entry_id. With RejectedError where some
   * of them are never taken: they come in ever smaller deliveries then, until it is told which.
   */
  deliver(entries: readonly AuditEntry[], signal: AbortSignal): Promise<void>;
}

/** The receiver does not take what was delivered, or not all of it, and would not if it came again. */
export class RejectedError extends Error {}

/** What is configured. */
export type SinkConfig =
  | { readonly name: string; readonly file: string }
  | {
      readonly name: string;
      readonly url: URL;
      readonly tokenFile?: string | undefined;
      readonly caFile?: string | undefined;
    };
