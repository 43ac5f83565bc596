import { setTimeout as delay } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Logger } from "../../log.ts";
import { reveal } from "../../proof/disclosures.ts";
import type { Store } from "../../store/store.ts";
import type { Cursor } from "./cursor.ts";
import type { Sink } from "./sink.ts";

/** Entries of one delivery; how long one may take; how often it looks for new ones; waits between attempts. All times in ms. */
const defaults = { batch: 200, deliverMs: 10_000, lookMs: 500, firstRetryMs: 1_000, lastRetryMs: 30_000 };
export type StreamPace = typeof defaults;

export interface StreamOptions {
  readonly store: Pick<Store, "head" | "storedEntries">;
  readonly sink: Sink;
  readonly cursor: Cursor;
  readonly log: Logger;
  readonly pace?: Partial<StreamPace>;
}

/**
 * Streams the ledger to a sink, from its first entry on and in its order, each entry at least once: the cursor moves on when the
 * sink has them. It reads what is committed, and a page at a time: nothing waits for it, and nothing piles up in memory however
 * long the receiver is away.
 */
export class LedgerStream {
  readonly #options: StreamOptions;
  readonly #pace: StreamPace;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** What the sink has; undefined until the cursor was read. */
  #delivered: number | undefined;
  #fault: string | undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#pace = { ...defaults, ...options.pace };
  }

  get name(): string {
    return this.#options.sink.name;
  }

  /** Why it cannot deliver now; undefined: it can, or has nothing to deliver. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** How many entries the sink does not have yet. */
  get behind(): number {
    return Math.max(0, Number(this.#options.store.head) - (this.#delivered ?? 0));
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends a delivery that is under way: its entries come again after the next start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { log } = this.#options;
    let retryMs = this.#pace.firstRetryMs;
    while (!signal.aborted) {
      let waitMs = 0;
      try {
        if (!(await this.#deliver())) waitMs = this.#pace.lookMs;
        if (this.#fault !== undefined) log.info({ sink: this.name }, "the ledger is streamed again");
        this.#fault = undefined;
        retryMs = this.#pace.firstRetryMs;
      } catch (error) {
        if (signal.aborted) return;
        const fault = error instanceof Error ? error.message : String(error);
        if (this.#fault === undefined) log.error({ err: error, sink: this.name }, "the ledger cannot be streamed");
        this.#fault = fault;
        waitMs = retryMs;
        retryMs = Math.min(2 * retryMs, this.#pace.lastRetryMs);
      }
      await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** One page; false where there is nothing new. */
  async #deliver(): Promise<boolean> {
    const { store, sink, cursor, log } = this.#options;
    const head = Number(store.head);
    let after = this.#delivered ?? (await cursor.read());
    if (after > head) {
      log.warn(
        { sink: sink.name, cursor: after, head },
        "the ledger is shorter than what was streamed: it goes on from its end",
      );
      after = head;
    }
    this.#delivered = after;
    const page = await store.storedEntries(BigInt(after), this.#pace.batch);
    const first = Number(page[0]?.sequence ?? 0);
    const last = Number(page.at(-1)?.sequence ?? 0);
    if (last === 0) return false;
    if (first > after + 1) {
      log.warn({ sink: sink.name, from: after + 1, to: first - 1 }, "entries were pruned before they were streamed");
    }
    const entries = page.map(({ bytes, disclosures }) => reveal(fromBinary(AuditEntrySchema, bytes), disclosures));
    await sink.deliver(entries, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#pace.deliverMs)]));
    await cursor.write(last);
    this.#delivered = last;
    return true;
  }
}
