import type { StoredCheckpoint } from "../store/proof-store.ts";

/** A second place for checkpoints. */
export interface Publisher {
  readonly name: string;
  /** Rejects where it could not; the next checkpoint is published all the same. */
  publish(checkpoint: StoredCheckpoint, signal: AbortSignal): Promise<void>;
}
