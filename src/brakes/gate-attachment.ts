import { MissionControlError } from "../errors.ts";
import type { GateRule } from "./gates.ts";

/** What is bounded: numbers, and times in ms. */
export interface GateLimits {
  /** Attached at a time. */
  readonly gates: number;
  /** Ids in all rules of an engine together. */
  readonly workflowIds: number;
  /** Rules of an engine. */
  readonly rules: number;
  /** From one message to a gate to the next, at the most. */
  readonly heartbeatMs: number;
  /** A gate that has confirmed nothing for so long is dropped. */
  readonly silenceMs: number;
  /** The next set waits for the confirmation of the one before for so long: that bounds what a slow gate is sent. */
  readonly confirmMs: number;
  /** A gate whose connection broke is waited for for so long. */
  readonly rememberedMs: number;
}

/** Who attaches; the fields are those of missioncontrol.gate.v1.Hello. */
export interface GateHello {
  readonly gate: string;
  readonly engine: string;
  readonly types: readonly string[];
  readonly instance: string;
}

/** The rules of an engine's gates at a time. */
export interface RuleSet {
  readonly revision: bigint;
  readonly rules: readonly GateRule[];
  /** ms since the epoch. */
  readonly time: number;
}

/** What a gate is told at a time. */
interface Told {
  readonly set: RuleSet;
  readonly unchanged: boolean;
  /** The number of the last event that it reported and that is durable; 0: none is. */
  readonly reported: bigint;
}

/** What a gate confirmed last. */
interface Confirmation {
  readonly revision: bigint;
  /** When it first confirmed it, in ms since the epoch, by this server's clock. */
  readonly time: number;
  readonly stepsInFlight: number;
}

/** What an attachment needs of the hub. */
interface Hub {
  /** The set that the gate is to hold by. */
  current(): RuleSet;
  confirmed(): void;
  held(workflowIds: readonly string[], incomplete: boolean): void;
  /** @param left true where the gate left by itself. */
  ended(left: boolean): void;
}

/** One gate's stay. Its two sides: `sets` is what it is told, the methods after it are what it says. */
export class Attachment {
  readonly hello: GateHello;
  readonly subject: string;
  /** ms since the epoch. */
  readonly since = Date.now();
  readonly #limits: GateLimits;
  readonly #hub: Hub;
  #sent: { readonly revision: bigint; readonly time: number } | undefined;
  #confirmed: Confirmation | undefined;
  #heard = performance.now();
  /** The number of the last event that it reported and that is durable, and what it was told of that. */
  #reported = 0n;
  #acknowledged = 0n;
  #ended: { readonly error: unknown } | undefined;
  #ring = () => {};

  constructor(hello: GateHello, subject: string, limits: GateLimits, hub: Hub) {
    this.hello = hello;
    this.subject = subject;
    this.#limits = limits;
    this.#hub = hub;
  }

  /** What it confirmed last; undefined: nothing yet. */
  get confirmed(): Confirmation | undefined {
    return this.#confirmed;
  }

  /**
   * The sets to send, each once, and signs of life: then with `unchanged`; each with what is acknowledged. The next is made when it
   * is asked for, so that a slow gate gets the latest only. Returns when the gate has left; throws why it was dropped.
   */
  async *sets(): AsyncGenerator<Told> {
    const { heartbeatMs, silenceMs, confirmMs } = this.#limits;
    let lastSent = performance.now();
    while (this.#ended === undefined) {
      const set = this.#hub.current();
      const now = performance.now();
      if (now - this.#heard >= silenceMs) {
        this.end(
          new MissionControlError("GATE_SILENT", `the gate has confirmed nothing for ${silenceMs} ms: attach again`),
        );
        break;
      }
      const sent = this.#sent;
      const changed = set.revision !== sent?.revision;
      /** When it may be sent another set. */
      const turn = sent === undefined || this.#confirmed?.revision === sent.revision ? now : sent.time + confirmMs;
      if (changed && now >= turn) {
        this.#sent = { revision: set.revision, time: now };
        lastSent = now;
        yield this.#told(set, false);
      } else if (now - lastSent >= heartbeatMs || (sent !== undefined && this.#reported !== this.#acknowledged)) {
        lastSent = now;
        yield this.#told(set, true);
      } else {
        const next = Math.min(changed ? turn : Number.POSITIVE_INFINITY, lastSent + heartbeatMs);
        await this.#wait(Math.min(next, this.#heard + silenceMs) - now);
      }
    }
    if (this.#ended?.error !== undefined) throw this.#ended.error;
    if (this.#sent !== undefined && this.#reported !== this.#acknowledged) yield this.#told(this.#hub.current(), true);
  }

  /** There may be another set. */
  wake(): void {
    this.#ring();
  }

  /** The gate confirms. @throws MissionControlError INVALID_ARGUMENT where it was not sent the revision. */
  applied(revision: bigint, stepsInFlight: number): void {
    if (this.#sent === undefined || revision > this.#sent.revision) {
      throw new MissionControlError("INVALID_ARGUMENT", `revision ${revision} is confirmed, and was not sent`);
    }
    this.#heard = performance.now();
    if (this.#confirmed !== undefined && revision <= this.#confirmed.revision) return;
    this.#confirmed = { revision, time: Date.now(), stepsInFlight };
    this.#ring();
    this.#hub.confirmed();
  }

  /** What it reported is durable, up to this number. */
  reported(sequence: bigint): void {
    this.#reported = sequence;
    this.#ring();
  }

  /** The gate has held steps of these workflows. */
  held(workflowIds: readonly string[], incomplete: boolean): void {
    this.#hub.held(workflowIds, incomplete);
  }

  /** Detaches it, once: without an error because it left by itself. */
  end(error?: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    this.#ring();
    this.#hub.ended(error === undefined);
  }

  /** A sign of life is about the set that the gate has, not about one that waits for its turn. */
  #told(set: RuleSet, unchanged: boolean): Told {
    this.#acknowledged = this.#reported;
    const revision = unchanged ? (this.#sent?.revision ?? set.revision) : set.revision;
    return { set: { ...set, revision }, unchanged, reported: this.#reported };
  }

  async #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ring = resolve;
    const timer = setTimeout(resolve, Math.max(1, ms)).unref();
    await promise;
    clearTimeout(timer);
  }
}
