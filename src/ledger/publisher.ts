import type { StoredCheckpoint } from "../store/proof-store.ts";

/** A second place for checkpoints. */
export interface Publisher {
  readonly name: string;
  /** Whether it signs what it takes. */
  readonly cosigns: boolean;
  /**
   * Resolves to the lines of its signatures (C2SP tlog-cosignature); none where it signs nothing.
   *
   * Rejects where it could not; the next checkpoint is published all the same. With LEDGER_TAMPERED where the place knows that
   * the ledger is not what was published before.
   *
   * @param prove that the ledger of the checkpoint begins with that many entries as they were.
   */
  publish(checkpoint: StoredCheckpoint, signal: AbortSignal, prove: Prove): Promise<readonly string[]>;
}

/** The consistency proof (RFC 9162) from a tree of that size. */
export type Prove = (size: number) => Promise<readonly Uint8Array[]>;
