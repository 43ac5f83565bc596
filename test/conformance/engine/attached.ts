import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { GateRule } from "../../../src/brakes/gates.ts";
import type { Engine } from "../../../src/engines/engine.ts";
import { createGate, type Run } from "../../../src/gate/index.ts";
import { StepRecorder } from "../../fixture/step-recorder.ts";
import { aRule } from "../../gate/rule.ts";
import { type GateServer, startGateServer } from "../../gate/server.ts";
import type { EngineHarness, Script } from "./harness.ts";

/** An engine of kind gate, and a runtime that attaches to it with the gate for TypeScript: over a real port, in one process. */
export async function attachedHarness(): Promise<EngineHarness> {
  const server = await startGateServer();
  const token = await server.token(undefined, "agents");
  const limits = { firstDelayMs: 10, longestDelayMs: 50 };
  const gate = createGate({ url: server.url, token, engine: "agents", name: "runtime", limits });
  await gate.ready();
  const runtime = new Runtime((type, parentId) =>
    gate.start({ type, id: randomUUID(), ...(parentId !== undefined && { parentId }) }),
  );
  const { engine, rules } = engineWithRules(server);
  return {
    engine,
    steps: runtime.steps,
    async start(script, { delayMs = 0 } = {}) {
      const id = runtime.start(script, delayMs);
      // The engine has an id for it when it was reported.
      while (!engine.isId(id)) await delay(2);
      return id;
    },
    signal: (id) => runtime.signal(id),
    cancel: async (id) => runtime.cancel(id),
    handlerOf: ({ does }) => `${does}/run`,
    async crash() {
      await server.close();
      await server.start(rules());
    },
    async stop() {
      runtime.stop();
      await gate.close();
      await server.stop();
    },
  };
}

/** The engine of the server's present start, with what keeps its gates' rules: in the server the brakes do. */
function engineWithRules(server: GateServer): { engine: Engine; rules: () => GateRule[] } {
  const held = new Set<string>();
  const rules = () => (held.size === 0 ? [] : [aRule({ workflowIds: [...held] })]);
  const tell = async () => {
    const revision = server.gates.setRules("agents", rules());
    await server.gates.untilApplied("agents", revision, 5_000);
  };
  const own: Partial<Engine> = {
    async hold(ids, signal) {
      const answers = await server.agents.hold(ids, signal);
      for (const [id, { kind }] of answers) if (kind === "accepted") held.add(id);
      await tell();
      return answers;
    },
    async release(ids, signal) {
      for (const id of ids) held.delete(id);
      await tell();
      return server.agents.release(ids, signal);
    },
  };
  const engine = new Proxy<Engine>(server.agents, {
    get(_, name) {
      if (name in own) return own[name as keyof Engine];
      const value = server.agents[name as keyof typeof server.agents];
      return typeof value === "function" ? (value as () => unknown).bind(server.agents) : value;
    },
  });
  return { engine, rules };
}

/** Carries scripts out, each step through the gate. */
class Runtime {
  readonly steps = new StepRecorder();
  readonly #begin: (type: string, parentId?: string) => Run;
  readonly #runs = new Map<string, Run>();
  readonly #signals = new Map<string, PromiseWithResolvers<void>>();
  readonly #queues = new Map<string, Promise<void>>();

  constructor(begin: (type: string, parentId?: string) => Run) {
    this.#begin = begin;
  }

  start(script: Script, delayMs: number): string {
    return this.#launch(script, delayMs).run.id;
  }

  async signal(id: string): Promise<void> {
    await this.steps.untilAwakeable(id);
    this.#signalOf(id).resolve();
  }

  cancel(id: string): void {
    this.#runs.get(id)?.cancel();
  }

  stop(): void {
    for (const run of this.#runs.values()) run.cancel();
    this.steps.close();
  }

  #launch(script: Script, delayMs: number, parentId?: string): { run: Run; ended: Promise<void> } {
    const run = this.#begin(script.does, parentId);
    this.#runs.set(run.id, run);
    const carriedOut = delay(delayMs).then(() => this.#carryOut(run, script));
    const ended = carriedOut.then(
      () => run.end(),
      (error: unknown) => run.end({ error }),
    );
    return { run, ended };
  }

  #step(run: Run, n: number, work: () => Promise<void> = async () => {}): Promise<void> {
    const name = `step-${n}`;
    return run.step(name, () => this.steps.run(run.id, name, work));
  }

  async #steps(run: Run, count: number, ms: number): Promise<void> {
    for (let n = 1; n <= count; n++) await this.#step(run, n, () => delay(ms));
  }

  async #carryOut(run: Run, script: Script): Promise<void> {
    switch (script.does) {
      case "steps":
        return this.#steps(run, script.count, script.ms);
      case "sleep":
        await this.#step(run, 1);
        await delay(script.ms);
        return this.#step(run, 2);
      case "await":
        await this.#step(run, 1);
        this.steps.awaits(run.id, run.id);
        await this.#signalOf(run.id).promise;
        return this.#step(run, 2);
      case "fail":
        await this.#step(run, 1);
        throw new Error("out of budget");
      case "retry": {
        await this.#step(run, 1);
        for (let failures = 0; ; failures++) {
          const work = async () => {
            if (failures < script.failures) throw new Error("flaky step failed");
          };
          const failed = await this.#step(run, 2, work).then(
            () => false,
            () => true,
          );
          if (!failed) break;
          await delay(100);
        }
        return this.#step(run, 3);
      }
      case "parallel":
        await Promise.all([1, 2, 3, 4].map((n) => this.#step(run, n, () => delay(script.ms))));
        return this.#step(run, 5);
      case "parent":
        await this.#step(run, 1);
        await this.#launch({ ...script, does: "steps" }, 0, run.id).ended;
        return this.#step(run, 2);
      case "queue": {
        const before = this.#queues.get(script.key);
        const own = Promise.resolve(before).then(() => this.#steps(run, script.count, script.ms));
        this.#queues.set(
          script.key,
          own.catch(() => {}),
        );
        return own;
      }
    }
  }

  #signalOf(id: string): PromiseWithResolvers<void> {
    const signal = this.#signals.get(id) ?? Promise.withResolvers<void>();
    this.#signals.set(id, signal);
    return signal;
  }
}
