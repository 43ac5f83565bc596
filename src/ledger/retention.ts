import { setTimeout as delay } from "node:timers/promises";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Logger } from "../log.ts";
import { notedActions } from "../proof/notes-of-entries.ts";
import type { Store } from "../store/store.ts";
import type { Ledger } from "./ledger.ts";
import type { LedgerProofs } from "./proofs.ts";

/** Between two looks at what is too old, ms. */
const lookEveryMs = 60 * 60 * 1000;

/** How long entries are kept, where nothing else is said, ms: seven years. */
export const defaultRetentionMs = 2557 * 24 * 60 * 60 * 1000;

export interface RetentionOptions {
  readonly store: Store;
  readonly ledger: Ledger;
  readonly proofs: LedgerProofs;
  /** How long entries are kept, ms. */
  readonly keepMs: number;
  readonly log: Logger;
}

/**
 * Prunes the ledger from its front, a tile (256 entries) at a time: first a signed note says what the entries were, then they
 * go, then an entry says so. Everything behind them is proved as before. An intent that is open keeps what is behind it.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends within a slice of entries. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Prunes what is too old now; returns how many entries went. */
  async prune(now = Date.now()): Promise<number> {
    const { store, ledger, proofs, keepMs } = this.#options;
    const old = await store.olderThan(now - keepMs);
    const upTo = await proofs.prepareToPrune(Number(old));
    const pruned = await store.prune(BigInt(upTo), this.#stop.signal);
    if (pruned > 0) {
      const message = `${pruned} entries, up to entry ${upTo}, were older than ${keepMs / 86_400_000} days, and are gone`;
      await ledger.append({ phase: Phase.SYSTEM, action: notedActions.pruned, message });
    }
    return pruned;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.prune();
      } catch (error) {
        if (!signal.aborted)
          log.error({ err: error }, "old entries of the ledger could not be pruned: next try in an hour");
      }
      await delay(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
