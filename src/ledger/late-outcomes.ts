import type { Logger } from "../log.ts";
import type { Answer } from "../store/store.ts";
import type { EntryInit, Ledger } from "./ledger.ts";

/** So many wait at most: beyond, an intent stays open until it is settled at the next start. How often it is tried, ms. */
const limits = { waiting: 10_000, retryMs: 1_000 } as const;

/** How a call ended, with the answer to its request that is kept for who repeats it. */
interface Late {
  readonly outcome: EntryInit;
  readonly answers: readonly Answer[] | undefined;
}

export interface LateOutcomesOptions {
  readonly ledger: Ledger;
  readonly log: Logger;
  readonly retryMs?: number;
}

/**
 * The OUTCOME entries that could not be written when their calls ended. They are written as soon as the ledger can be again, so
 * that no intent stays open for longer than that; those that a crash takes are settled at the next start.
 */
export class LateOutcomes {
  readonly #options: LateOutcomesOptions;
  #waiting: Late[] = [];
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LateOutcomesOptions) {
    this.#options = options;
  }

  /** How many calls have ended without the ledger saying how. */
  get count(): number {
    return this.#waiting.length;
  }

  add(outcome: EntryInit, answers: readonly Answer[] | undefined): void {
    if (this.#waiting.length >= limits.waiting) return;
    const late = "written late: the ledger could not be written when the call ended";
    const message = outcome.message ? `${outcome.message}; ${late}` : late;
    this.#waiting.push({ outcome: { ...outcome, message }, answers });
    this.#timer ??= setInterval(() => void this.write(), this.#options.retryMs ?? limits.retryMs).unref();
  }

  /** Writes those that wait, the oldest first, until one cannot be written. Never rejects. */
  write(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Writes what can be written; what cannot is settled at the next start. */
  async close(): Promise<void> {
    this.#rest();
    await this.write();
  }

  async #write(): Promise<void> {
    const { ledger, log } = this.#options;
    let written = 0;
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      try {
        await ledger.append(next.outcome, { answers: next.answers });
      } catch {
        break;
      }
      this.#waiting.shift();
      written++;
    }
    if (this.#waiting.length === 0) this.#rest();
    if (written > 0)
      log.warn({ written, waiting: this.count }, "outcomes that could not be written are in the ledger now");
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
