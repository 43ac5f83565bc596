import { type GatedWorkflow, Rules } from "./rules.ts";

/** What a gate does when its connection is gone for longer than the last known set is good for. */
export type WhenDisconnected = "go on" | "hold";

/**
 * "connected": the current set is in force. "stale": the last known one is. Then "open": nothing is held, or "closed": every
 * step is.
 */
export type Mode = "connected" | "stale" | "open" | "closed";

/** What is in force now: the rules, and what happens without a connection. Answers from memory alone. */
export class Orders {
  /** Another number whenever an answer may be another one. */
  version = 0;
  #rules = new Rules(0n, []);
  #mode: Mode;
  #since = new Date();
  #timer: NodeJS.Timeout | undefined;
  readonly #whenDisconnected: WhenDisconnected;
  readonly #staleLimitMs: number;
  readonly #holdLimitMs: number;
  readonly #listeners = new Set<() => void>();

  constructor(options: { whenDisconnected: WhenDisconnected; staleLimitMs: number; holdLimitMs: number }) {
    this.#whenDisconnected = options.whenDisconnected;
    this.#staleLimitMs = options.staleLimitMs;
    this.#holdLimitMs = options.holdLimitMs;
    // No set is known yet, so there is none that could go on to hold.
    this.#mode = "open";
    if (this.#whenDisconnected === "hold") this.#close();
  }

  get rules(): Rules {
    return this.#rules;
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** Since when the mode is what it is. */
  get since(): Date {
    return this.#since;
  }

  /** Why the workflow takes no step now; undefined: it may. */
  reasonToHold(workflow: GatedWorkflow): string | undefined {
    if (this.#mode === "closed") return "no connection to it";
    if (this.#mode === "open") return undefined;
    const brakeId = this.#rules.brakeOn(workflow);
    return brakeId === undefined ? undefined : `brake ${brakeId}`;
  }

  /** The same for one workflow, asked anew only where the answer may be another one. */
  of(workflow: GatedWorkflow): () => string | undefined {
    let version = -1;
    let reason: string | undefined;
    return () => {
      if (version !== this.version) {
        version = this.version;
        reason = this.reasonToHold(workflow);
      }
      return reason;
    };
  }

  /** A set has come. */
  apply(rules: Rules): void {
    this.#rules = rules;
    this.#enter("connected");
  }

  /** The connection is gone, or has ended without ever being one. */
  disconnected(): void {
    if (this.#mode !== "connected") return;
    this.#enter("stale");
    this.#after(this.#staleLimitMs, () => {
      if (this.#whenDisconnected === "hold") this.#close();
      else this.#enter("open");
    });
  }

  /** Calls back whenever an answer may be another one; the answer ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when an answer may be another one. Rejects with the signal's reason. */
  async changed(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => reject(signal.reason);
    const off = this.onChange(resolve);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      off();
      signal.removeEventListener("abort", abort);
    }
  }

  #close(): void {
    this.#enter("closed");
    this.#after(this.#holdLimitMs, () => this.#enter("open"));
  }

  #enter(mode: Mode): void {
    clearTimeout(this.#timer);
    if (mode !== this.#mode) this.#since = new Date();
    this.#mode = mode;
    this.version++;
    for (const listener of [...this.#listeners]) listener();
  }

  /** In steps, for a timer cannot wait for longer than 24 days. */
  #after(ms: number, then: () => void): void {
    const longest = 2 ** 31 - 1;
    this.#timer = setTimeout(() => (ms <= longest ? then() : this.#after(ms - longest, then)), Math.min(ms, longest));
    this.#timer.unref();
  }
}
