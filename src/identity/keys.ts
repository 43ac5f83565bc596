import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Clock } from "./clock.ts";
import type { KeySet } from "./key-set.ts";

/** How keys are kept up to date, all in ms. */
export const keyLimits = {
  /** Keys are asked for again when they are that old. */
  refreshMs: 5 * 60_000,
  /** From the beginning of one fetch to the next, whatever happens: an unknown key, a failure, a flood of both. */
  everyMs: 30_000,
  /** Keys that could not be confirmed for so long are not believed any more. */
  lastKnownGoodMs: 60 * 60_000,
} as const;

/** How an issuer's keys stand. */
export interface KeyState {
  /** stale: the provider does not answer, and its last keys are used; down: nobody with a token of this issuer gets in. */
  readonly status: "fresh" | "stale" | "down";
  /** One sentence. */
  readonly message: string;
}

/**
 * The keys of one issuer: the last that its provider was heard to have, for at most an hour after it was heard. One fetch at a
 * time, at most one in 30 s; an unknown key is asked for at once, within that.
 */
export class IssuerKeys {
  readonly #issuer: string;
  readonly #load: (signal: AbortSignal) => Promise<KeySet>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #closing = new AbortController();
  #set: KeySet | undefined;
  /** By the clock's elapsed time: the latest fetch that was begun, and the beginning of the latest that succeeded. */
  #fetchTime = Number.NEGATIVE_INFINITY;
  #goodTime = Number.NEGATIVE_INFINITY;
  #flight: Promise<void> | undefined;
  /** Why the latest fetch failed, and since when they do (date). */
  #fault: { readonly since: Date; readonly message: string } | undefined;

  /**
   * @param options.load fetches the keys; bounded in time by itself.
   * @param options.changed is called when keys have gone or come, with the new ones in place.
   */
  constructor(options: {
    readonly issuer: string;
    readonly load: (signal: AbortSignal) => Promise<KeySet>;
    readonly clock: Clock;
    readonly log: Logger;
    readonly changed: () => void;
  }) {
    this.#issuer = options.issuer;
    this.#load = options.load;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
  }

  /**
   * The key set to look a kid up in. Where the kid is not known, the provider is asked first, if it was not just now. Rejects
   * with ISSUER_UNAVAILABLE where there are no keys that could be believed.
   */
  async for(kid: string): Promise<KeySet> {
    this.refreshIfDue();
    const known = this.#believed();
    if (known?.prints.has(kid)) return known;
    if (this.#mayFetch()) this.#fetch();
    await this.#flight;
    const found = this.#believed();
    if (found !== undefined) return found;
    throw new MissionControlError(
      "ISSUER_UNAVAILABLE",
      "the keys of this token's issuer cannot be had, and so nobody can say whether it is good: try again later",
      { metadata: { issuer: this.#issuer } },
    );
  }

  /** Which key a kid stands for now; undefined: none that could be believed. */
  print(kid: string): string | undefined {
    return this.#believed()?.prints.get(kid);
  }

  /** Asks the provider anew where that is due. To be called now and then, so that a rotation is seen without a call. */
  refreshIfDue(): void {
    if (this.#clock.elapsed() - this.#goodTime >= keyLimits.refreshMs && this.#mayFetch()) this.#fetch();
  }

  /** Asks for the first time. Rejects with why there are no keys; they are asked for again all the same. */
  async open(): Promise<void> {
    this.#fetch();
    await this.#flight;
    if (this.#fault !== undefined) throw new Error(this.#fault.message);
  }

  get state(): KeyState {
    const minutes = Math.floor((this.#clock.elapsed() - this.#goodTime) / 60_000);
    const why = this.#fault ? `; not heard since ${this.#fault.since.toISOString()}: ${this.#fault.message}` : "";
    if (this.#believed() === undefined) {
      return { status: "down", message: `no keys that could be believed: its tokens are refused${why}` };
    }
    const keys = `${this.#set?.prints.size ?? 0} keys, heard ${minutes} min ago`;
    return { status: this.#fault ? "stale" : "fresh", message: `${keys}${why}` };
  }

  close(): void {
    this.#closing.abort(new Error("it is closed"));
  }

  #believed(): KeySet | undefined {
    return this.#clock.elapsed() - this.#goodTime <= keyLimits.lastKnownGoodMs ? this.#set : undefined;
  }

  #mayFetch(): boolean {
    if (this.#flight !== undefined || this.#closing.signal.aborted) return false;
    return this.#clock.elapsed() - this.#fetchTime >= keyLimits.everyMs;
  }

  #fetch(): void {
    const begin = this.#clock.elapsed();
    this.#fetchTime = begin;
    this.#flight = this.#load(this.#closing.signal)
      .then(
        (set) => this.#succeeded(set, begin),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => {
        this.#flight = undefined;
      });
  }

  #succeeded(set: KeySet, begin: number): void {
    if (this.#fault !== undefined) {
      this.#log.warn(
        { issuer: this.#issuer, since: this.#fault.since.toISOString() },
        "the issuer's keys are heard again",
      );
    }
    this.#fault = undefined;
    this.#goodTime = begin;
    const before = this.#set?.prints;
    const same = before?.size === set.prints.size && [...set.prints].every(([kid, print]) => before.get(kid) === print);
    // The same keys are not taken in again: those at hand are imported already.
    if (same) return;
    this.#set = set;
    if (before === undefined) return;
    this.#log.info({ issuer: this.#issuer, kids: [...set.prints.keys()] }, "the issuer's keys have changed");
    this.#changed();
  }

  #failed(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const message = error instanceof Error ? error.message : String(error);
    // Told once, not every 30 s.
    if (this.#fault === undefined)
      this.#log.error({ issuer: this.#issuer, err: error }, "the issuer's keys are not heard");
    this.#fault = { since: this.#fault?.since ?? new Date(this.#clock.date()), message };
  }
}
