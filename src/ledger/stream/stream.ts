import { setTimeout as delay } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Logger } from "../../log.ts";
import { reveal } from "../../proof/disclosures.ts";
import type { Store, StoredEntry } from "../../store/store.ts";
import type { Cursor } from "./cursor.ts";
import { RejectedError, type Sink } from "./sink.ts";

/** So many entries in a row that are rejected are the receiver's fault, not theirs: none is left out, and all come again. */
const maxRejected = 10;

/** Entries of one delivery; how long one may take; how often it looks for new ones; waits between attempts. All times in ms. */
const defaults = { batch: 200, deliverMs: 10_000, lookMs: 500, firstRetryMs: 1_000, lastRetryMs: 30_000 };
export type StreamPace = typeof defaults;

export interface StreamOptions {
  readonly store: Pick<Store, "head" | "storedEntries">;
  readonly sink: Sink;
  readonly cursor: Cursor;
  readonly log: Logger;
  readonly pace?: Partial<StreamPace>;
  /** Is told of entries that the receiver will never have, for it rejects them and takes others. */
  readonly onLeftOut: (message: string) => void;
}

/**
 * Streams the ledger to a sink, from its first entry on and in its order, each entry at least once: the cursor moves on when the
 * sink has them. It reads what is committed, and a page at a time: nothing waits for it, and nothing piles up in memory however
 * long the receiver is away. An entry that the receiver rejects is left out, loudly, once it has taken one behind it.
 */
export class LedgerStream {
  readonly #options: StreamOptions;
  readonly #pace: StreamPace;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** What the sink has; undefined until the cursor was read. */
  #delivered: number | undefined;
  #fault: string | undefined;
  /** Entries of the next delivery: fewer while it is looked which of them is rejected. */
  #batch: number;
  /** Rejected behind what the sink has, each on its own: left out once one behind them is taken. */
  #rejected: { readonly entry: StoredEntry; readonly why: string }[] = [];
  #leftOut: LedgerStream["leftOut"];

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#pace = { ...defaults, ...options.pace };
    this.#batch = this.#pace.batch;
  }

  get name(): string {
    return this.#options.sink.name;
  }

  /** Why it cannot deliver now; undefined: it can, or has nothing to deliver. */
  get fault(): string | undefined {
    const [first] = this.#rejected;
    return this.#fault ?? (first && `entry ${first.entry.sequence} was rejected: ${first.why}`);
  }

  /** How many entries were left out since the start, for the receiver rejected them, and when the last; undefined: none. */
  get leftOut(): { readonly count: number; readonly time: Date } | undefined {
    return this.#leftOut;
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
    const page = await store.storedEntries(this.#rejected.at(-1)?.entry.sequence ?? BigInt(after), this.#batch);
    const first = Number(page[0]?.sequence ?? 0);
    const last = Number(page.at(-1)?.sequence ?? 0);
    if (last === 0) return false;
    if (first > after + 1 && this.#rejected.length === 0) {
      log.warn({ sink: sink.name, from: after + 1, to: first - 1 }, "entries were pruned before they were streamed");
    }
    try {
      await this.#send(page);
      // One behind the rejected ones is taken: only now are they looked at for themselves, once more.
      if (this.#rejected.length > 0 && (await this.#sendRejected())) await this.#send(page);
    } catch (error) {
      if (!(error instanceof RejectedError)) throw error;
      this.#narrow(page, error);
      return true;
    }
    this.#leaveOut();
    await cursor.write(last);
    this.#delivered = last;
    this.#batch = Math.min(2 * this.#batch, this.#pace.batch);
    return true;
  }

  #send(page: readonly StoredEntry[]): Promise<void> {
    const entries = page.map(({ bytes, disclosures }) => reveal(fromBinary(AuditEntrySchema, bytes), disclosures));
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#pace.deliverMs)]);
    return this.#options.sink.deliver(entries, signal);
  }

  /** Each of the rejected ones once more; true where one is taken now, so that what is behind it has to come again, in order. */
  async #sendRejected(): Promise<boolean> {
    const before = this.#rejected;
    const still: typeof before = [];
    for (const one of before) {
      await this.#send([one.entry]).catch((error: unknown) => {
        if (!(error instanceof RejectedError)) throw error;
        still.push(one);
      });
    }
    this.#rejected = still;
    return still.length < before.length;
  }

  /** One of so many is rejected: half of them next, until it is one. Throws where it is not about that one. */
  #narrow(page: readonly StoredEntry[], { message: why }: RejectedError): void {
    this.#batch = Math.ceil(page.length / 2);
    const [entry] = page;
    if (entry === undefined || page.length > 1) return;
    this.#rejected.push({ entry, why });
    if (this.#rejected.length < maxRejected) return;
    this.#rejected = [];
    throw new Error(`every entry is rejected: ${why}`);
  }

  #leaveOut(): void {
    const [first] = this.#rejected;
    if (first === undefined) return;
    const sequences = this.#rejected.map(({ entry }) => Number(entry.sequence));
    const { sink, log, onLeftOut } = this.#options;
    this.#leftOut = { count: (this.#leftOut?.count ?? 0) + sequences.length, time: new Date() };
    this.#rejected = [];
    const { why } = first;
    log.error({ sink: sink.name, sequences, why }, "ALARM: entries were rejected, and are left out of the stream");
    onLeftOut(`entries ${sequences.join(", ")} are left out of the stream ${sink.name}: ${why}`);
  }
}
