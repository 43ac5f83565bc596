import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { FallbackFile, type FallbackHeader } from "../store/fallback-file.ts";
import { isOutage } from "../store/outage.ts";
import { overlaid } from "../store/overlay.ts";
import type { Change, Store } from "../store/store.ts";
import { boundedEntry } from "./bounds.ts";
import { createEntryIds } from "./entry-id.ts";
import { pendingView } from "./pending-view.ts";

/** The file's most bytes, of which reads and refusals get a half: they never keep the brake from its own. */
const maxBytes = { all: 64 * 1024 * 1024, reads: 32 * 1024 * 1024 } as const;
/** How often it is tried whether the database can be written again, and how often the log says that it cannot, ms. */
const pace = { retryMs: 1_000, logMs: 60_000 } as const;
/** Changes that are merged in one disk write. */
const mergedAtOnce = 64;

export interface FallbackOptions {
  readonly store: Store;
  /** Of the file; best on another disk than the database. */
  readonly path: string;
  readonly log: Logger;
  readonly retryMs?: number;
}

/** Since when the database cannot be written, why, and how many entries wait in the file. */
export interface FallbackState {
  readonly since: Date;
  readonly because: string;
  readonly entries: number;
}

/**
 * Keeps the brake usable while the database cannot be written: what is committed is kept in a local file instead, on the disk
 * before it takes effect, and is merged into the database in the same order once that can be written, each entry once and
 * marked as from the fallback. Loudly: log, health and metrics say so for as long as it lasts.
 */
export class Fallback {
  /** The store, with the file beside it. */
  readonly store: Store;
  readonly #options: FallbackOptions;
  readonly #file: FallbackFile;
  readonly #nextId = createEntryIds();
  #header: FallbackHeader | undefined;
  #opening: Promise<void> | undefined;
  /** What is in the file and not in the database yet, in its order. */
  #pending: Change[] = [];
  /** How many of the first of them may be in the database already: what a crash or an error left unclear. */
  #unclear = 0;
  #mergedEntries = 0;
  /** Changes that are on their way into the file. */
  #appending = 0;
  #merging: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #logTime = 0;

  private constructor(options: FallbackOptions, file: FallbackFile) {
    this.#options = options;
    this.#file = file;
    // Commits go this way; of what is asked, what is only in the file is known as well.
    const known = pendingView(options.store, () => this.#pending);
    this.store = overlaid(options.store, { ...known, commit: (change) => this.#commit(change) });
  }

  /** Takes up what a crash left in the file; `merge` puts it into the database. */
  static async open(options: FallbackOptions): Promise<Fallback> {
    const file = new FallbackFile(options.path);
    const fallback = new Fallback(options, file);
    const left = await file.read();
    if (left === undefined) return fallback;
    fallback.#header = left.header;
    fallback.#pending = left.changes;
    fallback.#unclear = left.changes.length;
    if (left.cutOff) {
      options.log.warn(
        { fallbackFile: options.path },
        "the fallback file's last line was cut off: it was not acknowledged",
      );
    }
    await file.begin(left.header);
    return fallback;
  }

  /** Undefined while the database can be written. */
  get state(): FallbackState | undefined {
    if (this.#header === undefined) return undefined;
    const { since, because } = this.#header;
    const entries = this.#pending.reduce((sum, change) => sum + change.entries.length, 0);
    return { since: new Date(since), because, entries };
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (this.#header === undefined) return;
      void this.#tryMerge();
    }, this.#options.retryMs ?? pace.retryMs);
    this.#timer.unref();
  }

  /** Merges what can be merged; the rest stays in the file for the next start. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#tryMerge();
    await this.#file.close();
  }

  /**
   * Merges what a crash or a stop left in the file. Where the database cannot be written that waits, loudly, and what is in the file
   * is known all the same. Rejects where something else is wrong with it.
   */
  async mergeLeft(): Promise<void> {
    await this.merge().catch((error: unknown) => {
      if (!isOutage(error)) throw error;
      this.#tell(error);
    });
  }

  #tryMerge(): Promise<void> {
    return this.merge().catch((error: unknown) => this.#tell(error));
  }

  /** Puts what is in the file into the database, then does without the file. Rejects where the database cannot be written. */
  merge(): Promise<void> {
    this.#merging ??= this.#merge().finally(() => {
      this.#merging = undefined;
    });
    return this.#merging;
  }

  async #merge(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    const header = this.#header;
    if (header === undefined) return;
    const { store, log } = this.#options;
    while (this.#pending.length > 0 || this.#appending > 0) {
      await this.#mergeSome();
      await new Promise((resolve) => setImmediate(resolve));
    }
    // From here on changes go to the database: all that came before them is in it.
    this.#header = undefined;
    const [count, since] = [this.#mergedEntries, new Date(header.since).toISOString()];
    try {
      if ((await store.storedEntry(header.mergedEntryId)) === undefined) {
        const message =
          `the database can be written again: what was kept in the fallback file since ${since} is in the ledger ` +
          `(${count} entries in this merge)`;
        await store.commit({ entries: [this.#entry("ledger.fallback_merged", message, header.mergedEntryId)] });
      }
    } catch (error) {
      this.#header ??= header;
      throw error;
    }
    if (this.#header !== undefined) return;
    this.#mergedEntries = 0;
    this.#opening = this.#file.remove();
    await this.#opening;
    log.warn({ entries: count, since }, "the ledger's database can be written again: the fallback file is merged");
  }

  /** The first of what waits; only what a crash or an error left unclear is looked up: each look may read much. */
  async #mergeSome(): Promise<void> {
    const { store } = this.#options;
    const some = this.#pending.slice(0, mergedAtOnce);
    const unclear = some.slice(0, this.#unclear);
    this.#unclear = Math.max(this.#unclear, some.length);
    const known = await Promise.all(unclear.map(({ entries: [first] }) => first && store.storedEntry(first.entryId)));
    const results = await Promise.allSettled(
      some.map(async (change, at) => {
        if (known[at] === undefined) await store.commit(change);
      }),
    );
    // Only what is in it without a gap: the order is kept.
    const failed = results.findIndex(({ status }) => status === "rejected");
    const merged = this.#pending.splice(0, failed === -1 ? some.length : failed);
    this.#unclear -= merged.length;
    this.#mergedEntries += merged.reduce((sum, { entries }) => sum + entries.length, 0);
    const failure = results[failed];
    if (failure?.status === "rejected") throw failure.reason;
  }

  async #commit(change: Change): Promise<AuditEntry[]> {
    if (this.#header === undefined) {
      try {
        return await this.#options.store.commit(change);
      } catch (error) {
        if (!isOutage(error)) throw error;
        if (this.#header === undefined) this.#begin(error as Error);
      }
    }
    return this.#append(change);
  }

  /** From now on the file is used, and nothing else until it is merged. */
  #begin(error: Error): void {
    const because = error.cause instanceof Error ? error.cause.message : error.message;
    const header = { mergedEntryId: this.#nextId(Date.now()), since: Date.now(), because };
    this.#header = header;
    const before = this.#opening ?? Promise.resolve();
    this.#opening = before
      .catch(() => undefined)
      .then(() => this.#file.begin(header))
      .catch((fault: unknown) => {
        this.#header = undefined;
        throw new MissionControlError(
          "LEDGER_UNAVAILABLE",
          `neither the ledger's database (${because}) nor its fallback file ${this.#options.path} can be written ` +
            `(${fault instanceof Error ? fault.message : fault}): nothing is done that cannot be recorded`,
          { cause: fault },
        );
      });
    this.#opening.catch(() => undefined);
    this.#tell(error);
    const began = this.#entry("ledger.fallback_began", `the database cannot be written: ${because}`);
    void this.#append({ entries: [began] }).catch(() => undefined);
  }

  async #append(change: Change): Promise<AuditEntry[]> {
    const entries = change.entries.map((entry): AuditEntry => ({ ...entry, fromFallback: true }));
    const isRead = entries.every(({ phase }) => phase === Phase.READ || phase === Phase.DENIED);
    if (this.#file.size > (isRead ? maxBytes.reads : maxBytes.all)) throw this.#refused("the fallback file is full");
    const kept = { ...change, entries };
    this.#appending++;
    try {
      await this.#opening;
      await this.#file.append(kept);
      this.#pending.push(kept);
    } finally {
      this.#appending--;
    }
    return entries;
  }

  #entry(action: string, message: string, entryId?: string): AuditEntry {
    const now = Date.now();
    return boundedEntry({ phase: Phase.SYSTEM, action, message }, entryId ?? this.#nextId(now), now);
  }

  #refused(why: string): MissionControlError {
    return new MissionControlError(
      "LEDGER_UNAVAILABLE",
      `the ledger's database cannot be written (${this.#header?.because}), and ${why}: try again, and see to the server's disk`,
    );
  }

  #tell(error: unknown): void {
    const now = Date.now();
    if (now - this.#logTime < pace.logMs) return;
    this.#logTime = now;
    this.#options.log.error(
      { err: error, fallbackFile: this.#options.path, entries: this.state?.entries },
      "ALARM: the ledger's database cannot be written: what happens is kept in the fallback file until it can",
    );
  }
}
