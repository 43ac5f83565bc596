import { isDeepStrictEqual } from "node:util";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { Attachment, type GateHello, type GateLimits, type RuleSet } from "./gate-attachment.ts";

/** What gates need to know of one engaged brake; the fields are those of missioncontrol.gate.v1.Rule. */
export interface GateRule {
  readonly brakeId: string;
  /** The engine's own ids of workflows that the brake has caught. */
  readonly workflowIds: readonly string[];
  /** True where workflows that it has not caught yet can be told by the fields below; none of them set: every workflow. */
  readonly matchNew: boolean;
  /** Only these types; empty: any. */
  readonly types: readonly string[];
  /** Only these handlers, each as "type/handler"; empty: any. */
  readonly handlers: readonly string[];
  /** Only where the name begins so; "": any. */
  readonly namePrefix: string;
  /** Only those that were reported with all of these labels; empty: any. Only for engines whose gates report. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A gate that is attached now. Times are ms since the epoch. */
export interface AttachedGate {
  readonly gate: string;
  readonly instance: string;
  readonly engine: string;
  /** The types that it gates; empty: any. */
  readonly types: readonly string[];
  /** The subject of its token. */
  readonly subject: string;
  readonly since: number;
  /** The latest set that it has confirmed; undefined: none yet. */
  readonly appliedRevision: bigint | undefined;
}

/** Whether a gate holds by a set of rules. */
export interface GateConfirmation {
  readonly gate: string;
  readonly instance: string;
  /** False where it is not attached now. */
  readonly attached: boolean;
  /** When it confirmed the set, or a later one, in ms since the epoch; undefined: it has not. */
  readonly appliedTime: number | undefined;
  /** Steps of workflows that the set holds which ran on when it confirmed; undefined: it has not. */
  readonly stepsInFlight: number | undefined;
}

const defaults: GateLimits = {
  gates: 1_000,
  workflowIds: 200_000,
  rules: 10_000,
  heartbeatMs: 15_000,
  silenceMs: 45_000,
  confirmMs: 5_000,
  rememberedMs: 30_000,
};

type HeldListener = (engine: string, workflowIds: readonly string[], incomplete: boolean) => void;

/**
 * The gates that are attached, and the rules that they hold by. Gates are a help, not the brake: whatever happens here, the
 * sweep over the engine holds as well.
 */
export class Gates {
  readonly #limits: GateLimits;
  readonly #log: Logger;
  readonly #sets = new Map<string, RuleSet>();
  /** The rules that were given, each with its copy. */
  readonly #owns = new WeakMap<GateRule, GateRule>();
  /** By instance. */
  readonly #attached = new Map<string, Attachment>();
  /** Gates whose connection broke a moment ago: they may be back any moment, and still be running steps. By instance. */
  readonly #lost = new Map<string, { readonly attachment: Attachment; readonly timer: NodeJS.Timeout }>();
  /** Who waits is told of each instance that attached, confirmed, was lost, or is given up. */
  readonly #changed = new Set<(instance: string) => void>();
  readonly #heldListeners = new Set<HeldListener>();
  /** Above every revision of an earlier start, for as long as there are fewer than a thousand sets in each ms. */
  #revision = BigInt(Date.now()) * 1_000n;

  /** @param options.engines the names of the engines whose workflows can be gated. */
  constructor(options: {
    readonly engines: readonly string[];
    readonly log: Logger;
    readonly limits?: Partial<GateLimits>;
  }) {
    this.#limits = { ...defaults, ...options.limits };
    this.#log = options.log;
    for (const engine of options.engines) this.#sets.set(engine, this.#newSet([]));
  }

  /**
   * Has all gates of the engine hold by these rules, and by these only. Answers the set's revision: a new one where the rules
   * differ from those before. Quick changes are sent as one; a slow gate gets the latest only.
   * @throws RangeError where there are more rules or ids than gates are to carry: then the rules before stay.
   */
  setRules(engine: string, rules: readonly GateRule[]): bigint {
    const before = this.#sets.get(engine);
    if (before === undefined) throw new RangeError(`there is no engine ${engine} to gate`);
    // Of thousands nearly all are the very same.
    const own = rules.map((rule) => this.#ownOf(rule));
    const isSame = (rule: GateRule, at: number) =>
      rule === before.rules[at] || isDeepStrictEqual(rule, before.rules[at]);
    if (own.length === before.rules.length && own.every(isSame)) return before.revision;
    const ids = rules.reduce((sum, rule) => sum + rule.workflowIds.length, 0);
    if (rules.length > this.#limits.rules || ids > this.#limits.workflowIds) {
      throw new RangeError(
        `gates carry at most ${this.#limits.rules} rules with ${this.#limits.workflowIds} workflow ids, not ${rules.length} with ${ids}`,
      );
    }
    const set = this.#newSet(own);
    this.#sets.set(engine, set);
    for (const attachment of this.#attached.values()) if (attachment.hello.engine === engine) attachment.wake();
    return set.revision;
  }

  /** The gates that are attached now, of one engine or of all. */
  attached(engine?: string): readonly AttachedGate[] {
    return [...this.#attached.values()]
      .filter(({ hello }) => engine === undefined || hello.engine === engine)
      .map(({ hello, subject, since, confirmed }) => ({
        gate: hello.gate,
        instance: hello.instance,
        engine: hello.engine,
        types: hello.types,
        subject,
        since,
        appliedRevision: confirmed?.revision,
      }));
  }

  /**
   * Waits until the gates of the engine have confirmed the revision or a later one, for `ms` at the most, and says of each
   * whether it has. The gates are those that are attached at the call, and those whose connection broke within the last 30 s,
   * for such a worker may be running steps; not those that left by themselves. Rejects with the signal's reason.
   */
  async untilApplied(
    engine: string,
    revision: bigint,
    ms: number,
    signal?: AbortSignal,
  ): Promise<readonly GateConfirmation[]> {
    signal?.throwIfAborted();
    const asked = new Map<string, Attachment>();
    for (const { attachment } of this.#lost.values()) asked.set(attachment.hello.instance, attachment);
    for (const [instance, attachment] of this.#attached) asked.set(instance, attachment);
    for (const [instance, { hello }] of asked) if (hello.engine !== engine) asked.delete(instance);

    /** What one of them confirmed; one that came back is another attachment of the same instance. */
    const confirmationOf = ({ hello, confirmed }: Attachment) =>
      [confirmed, this.#attached.get(hello.instance)?.confirmed].find((one) => one && one.revision >= revision);
    const pending = new Set<string>();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // One by one: what a thousand gates confirm must not be looked through a thousand times.
    const look = (instance: string, attachment: Attachment) => {
      const mayCome = this.#attached.has(instance) || this.#lost.has(instance);
      if (mayCome && confirmationOf(attachment) === undefined) pending.add(instance);
      else pending.delete(instance);
    };
    const check = (instance: string) => {
      const attachment = asked.get(instance);
      if (attachment === undefined) return;
      look(instance, attachment);
      if (pending.size === 0) resolve();
    };
    const abort = () => reject(signal?.reason);
    const timer = setTimeout(resolve, Math.max(0, ms));
    this.#changed.add(check);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      for (const [instance, attachment] of asked) look(instance, attachment);
      if (pending.size > 0) await promise;
    } finally {
      clearTimeout(timer);
      this.#changed.delete(check);
      signal?.removeEventListener("abort", abort);
    }
    return [...asked.values()].map((attachment) => {
      const { gate, instance } = attachment.hello;
      const found = confirmationOf(attachment);
      const attached = this.#attached.has(instance);
      return { gate, instance, attached, appliedTime: found?.time, stepsInFlight: found?.stepsInFlight };
    });
  }

  /**
   * Calls back with workflows of which a gate held a step back, by the engine's own ids; the answer ends that. What no
   * engaged brake holds among them was held by a set that is over, or for lack of a connection: it is to be resumed. With
   * `incomplete`, more were held than are told. A hint only: what was lost on the way can be found in the engine.
   */
  onHeld(listener: HeldListener): () => void {
    this.#heldListeners.add(listener);
    return () => this.#heldListeners.delete(listener);
  }

  /**
   * Attaches a gate until the signal aborts or it is detached.
   * @throws MissionControlError UNKNOWN_ENGINE, TOO_MANY_GATES.
   */
  attach(hello: GateHello, subject: string, signal: AbortSignal): Attachment {
    const { engine, instance } = hello;
    if (!this.#sets.has(engine)) {
      throw new MissionControlError(
        "UNKNOWN_ENGINE",
        `there is no engine "${engine}" here: a gate names one of ${[...this.#sets.keys()].join(", ")}`,
      );
    }
    const replaced = new MissionControlError("GATE_REPLACED", `the gate ${hello.gate} has attached again`);
    this.#attached.get(instance)?.end(replaced);
    if (this.#attached.size >= this.#limits.gates) {
      throw new MissionControlError("TOO_MANY_GATES", `${this.#limits.gates} gates are attached, which is the limit`);
    }
    const attachment = new Attachment(hello, subject, this.#limits, {
      current: () => this.#sets.get(engine) as RuleSet,
      confirmed: () => this.#tellChange(instance),
      held: (workflowIds, incomplete) => this.#tellHeld(engine, workflowIds, incomplete),
      ended: (left) => this.#detached(attachment, left),
    });
    this.#forget(instance);
    this.#attached.set(instance, attachment);
    signal.addEventListener("abort", () => attachment.end(signal.reason), { once: true });
    if (signal.aborted) attachment.end(signal.reason);
    this.#tellChange(instance);
    return attachment;
  }

  #detached(attachment: Attachment, left: boolean): void {
    const { instance } = attachment.hello;
    this.#attached.delete(instance);
    if (!left && this.#lost.size < this.#limits.gates) {
      this.#forget(instance);
      const timer = setTimeout(() => {
        this.#lost.delete(instance);
        this.#tellChange(instance);
      }, this.#limits.rememberedMs).unref();
      this.#lost.set(instance, { attachment, timer });
    }
    this.#tellChange(instance);
  }

  #forget(instance: string): void {
    clearTimeout(this.#lost.get(instance)?.timer);
    this.#lost.delete(instance);
  }

  #tellChange(instance: string): void {
    for (const check of [...this.#changed]) check(instance);
  }

  #tellHeld(engine: string, workflowIds: readonly string[], incomplete: boolean): void {
    for (const listener of this.#heldListeners) {
      try {
        listener(engine, workflowIds, incomplete);
      } catch (error) {
        this.#log.error({ err: error, engine }, "a gate's report could not be used");
      }
    }
  }

  /** A copy of the rule, the same one each time: who made it may change it. */
  #ownOf(rule: GateRule): GateRule {
    const known = this.#owns.get(rule);
    if (known) return known;
    const own = structuredClone(rule);
    this.#owns.set(rule, own);
    return own;
  }

  #newSet(rules: readonly GateRule[]): RuleSet {
    const time = Date.now();
    const clock = BigInt(time) * 1_000n;
    this.#revision = clock > this.#revision ? clock : this.#revision + 1n;
    return { revision: this.#revision, rules, time };
  }
}
