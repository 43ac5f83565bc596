import type { EngineRegistry } from "../engines/registry.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import type { Logger } from "../log.ts";
import type { Brake } from "../store/brake.ts";
import type { Brakes } from "./brakes.ts";
import type { Catching } from "./catch.ts";
import type { GateRule, Gates } from "./gates.ts";
import { holds } from "./halt.ts";
import type { GatesOfEngine } from "./reconciler/letting-go.ts";
import type { GateRule as SelectorRule } from "./selector.ts";

/** How long a release waits for gates to lower their rules, ms: one that is silent is not waited for. */
const loweredMs = 1_000;
/** From a failure to ask an engine for its labels to the next attempt, ms. */
const retryMs = 1_000;
/** Reports of gates that wait to be looked at. */
const maxHeld = 100_000;

/** So long an engine is asked for the handlers with labels, ms: what is to be told meanwhile does not wait for it. */
const labelsMs = 1_000;

/** Keeps the gates' rules what the engaged brakes say. Gates help; what they do not know is held by the sweep. */
export class GateRules {
  readonly #brakes: Brakes;
  readonly #engines: EngineRegistry;
  readonly #catching: Catching;
  readonly #gates: Gates;
  readonly #log: Logger;
  readonly #revisions = new Map<string, bigint>();
  /** "brakeId engine" → its rule, until something of the brake changes; none of those that an engine has to be asked for. */
  readonly #known = new Map<string, GateRule | undefined>();
  /** Engines whose rules could not be brought up to date. */
  readonly #untold = new Set<string>();
  /** engine → the engine's own ids of workflows that a gate paused and that nobody has looked at since. */
  readonly #held = new Map<string, Set<string>>();
  #running: Promise<void> | undefined;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #off: (() => void) | undefined;

  constructor(brakes: Brakes, engines: EngineRegistry, catching: Catching, gates: Gates, log: Logger) {
    this.#brakes = brakes;
    this.#engines = engines;
    this.#catching = catching;
    this.#gates = gates;
    this.#log = log;
  }

  /** `wake`: called when gates have paused something that no brake may be holding. */
  start(wake: (engine: string) => void): void {
    const offChange = this.#brakes.onChange(({ brakeIds }) => {
      for (const brakeId of brakeIds)
        for (const { name } of this.#engines.select()) this.#known.delete(`${brakeId} ${name}`);
      void this.sync();
    });
    const offHeld = this.#gates.onHeld((engine, ids, incomplete) => {
      if (incomplete) this.#catching.lookAgain();
      const strays = ids.filter((id) => this.#brakes.on(formatWorkflowId(engine, id)).length === 0);
      if (strays.length === 0) return;
      const held = this.#held.get(engine) ?? new Set();
      for (const id of strays) if (held.size < maxHeld) held.add(id);
      this.#held.set(engine, held);
      wake(engine);
    });
    this.#off = () => {
      offChange();
      offHeld();
    };
    void this.sync();
  }

  /** The gates as an engine's reconciler needs them. */
  of(engine: string): GatesOfEngine {
    const attached = () => this.#gates.attached(engine).length > 0;
    let areUsed = false;
    return {
      get areUsed() {
        areUsed ||= attached();
        return areUsed;
      },
      lowered: async () => {
        await this.sync();
        await this.#gates.untilApplied(engine, this.#revision(engine), loweredMs);
      },
      takeHeld: () => {
        const held = [...(this.#held.get(engine) ?? [])];
        this.#held.delete(engine);
        return held;
      },
    };
  }

  async stop(): Promise<void> {
    this.#off?.();
    clearTimeout(this.#retry);
    await this.#running;
  }

  /** Resolves once the rules of all engines are what the brakes said at the call. Quick changes become one. */
  async sync(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#rounds().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Waits until all attached gates hold by the rules as they are now, for `ms` at the most; each gate with its time. */
  async confirmed(ms: number, signal?: AbortSignal): Promise<Brake["gates"]> {
    await this.sync();
    const all = this.#engines.select().map(async ({ name }) => {
      const confirmations = await this.#gates.untilApplied(name, this.#revision(name), ms, signal);
      // What could not be told to the gates cannot have been confirmed by them.
      const told = !this.#untold.has(name);
      return confirmations.map(({ gate, appliedTime }) => ({ gate, ackTime: told ? appliedTime : undefined }));
    });
    return (await Promise.all(all)).flat();
  }

  #revision(engine: string): bigint {
    return this.#revisions.get(engine) ?? 0n;
  }

  async #rounds(): Promise<void> {
    do {
      this.#again = false;
      await Promise.all(this.#engines.select().map(({ name }) => this.#tell(name)));
    } while (this.#again);
  }

  async #tell(engine: string): Promise<void> {
    try {
      this.#revisions.set(engine, this.#gates.setRules(engine, await this.#rulesFor(engine)));
      this.#untold.delete(engine);
    } catch (error) {
      this.#untold.add(engine);
      this.#log.error({ err: error, engine }, "the gates' rules could not be brought up to date");
    }
  }

  #syncSoon(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      void this.sync();
    }, retryMs).unref();
  }

  async #rulesFor(engine: string): Promise<GateRule[]> {
    const rules: GateRule[] = [];
    for (const brake of this.#brakes.all()) {
      if (brake.state !== "ENGAGED") continue;
      const key = `${brake.brakeId} ${engine}`;
      const rule = this.#known.has(key) ? this.#known.get(key) : await this.#ruleFor(engine, brake);
      if (rule && (rule.matchNew || rule.workflowIds.length > 0)) rules.push(rule);
    }
    return rules;
  }

  async #ruleFor(engine: string, brake: Brake): Promise<GateRule | undefined> {
    const own = this.#catching.selector(brake).gateRule(engine);
    const key = `${brake.brakeId} ${engine}`;
    if (own === undefined) {
      this.#known.set(key, undefined);
      return undefined;
    }
    const byHandler = this.#engines.named(engine).capabilities.stepsFrom === "journal";
    const asksEngine = byHandler && Object.keys(own.labels).length > 0;
    const rule = this.#rule(engine, brake, own, asksEngine ? await this.#handlers(engine, own.labels) : [], !byHandler);
    if (!asksEngine) this.#known.set(key, rule);
    return rule;
  }

  /** @param knowsLabels true where the engine's gates do. */
  #rule(engine: string, brake: Brake, own: SelectorRule, handlers: readonly string[], knowsLabels: boolean): GateRule {
    const labels = knowsLabels ? own.labels : {};
    // While it is being let go in stages it catches nothing new.
    const catches = brake.release === undefined || brake.release.haltedBecause !== "";
    const matchNew = catches && (own.matchNew || handlers.length > 0 || Object.keys(labels).length > 0);
    const ids = new Set(catches ? own.workflowIds : []);
    for (const hold of this.#brakes.holdsOf(brake.brakeId)) {
      // What the fields tell needs no id; children and everything else do.
      if (!holds({ brake, hold }) || (matchNew && hold.caughtThrough === "")) continue;
      const parsed = parseWorkflowId(hold.workflowId);
      if (parsed?.engine === engine) ids.add(parsed.id);
    }
    return {
      brakeId: brake.brakeId,
      workflowIds: [...ids],
      matchNew,
      types: own.types,
      handlers,
      namePrefix: own.namePrefix,
      labels,
    };
  }

  /** Gates of an engine that knows its workflows itself know no labels, but the handlers that carry them. */
  async #handlers(engine: string, labels: Readonly<Record<string, string>>): Promise<string[]> {
    try {
      return await this.#engines.named(engine).handlersWith(labels, AbortSignal.timeout(labelsMs));
    } catch {
      // The engine does not answer: what the brake has caught is told by its ids, and the labels are asked for again.
      this.#syncSoon();
      return [];
    }
  }
}
