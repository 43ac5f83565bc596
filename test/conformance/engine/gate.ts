import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Engine } from "../../../src/engines/engine.ts";
import type { GateEvent, RunOutcome } from "../../../src/engines/gate/events.ts";
import { GateEngine } from "../../../src/engines/gate.ts";
import { createLog } from "../../../src/log.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";
import { StepRecorder } from "../../fixture/step-recorder.ts";
import type { EngineHarness, Script } from "./harness.ts";

/** The gate engine with a runtime in this process, which asks before each step and asks again where it lost the connection. */
export async function gateHarness(): Promise<EngineHarness> {
  const dir = mkdtempSync(join(tmpdir(), "mc-gate-"));
  const log = createLog("silent");
  const open = async () => {
    const store = openSqlite(join(dir, "mission-control.db"));
    return { store, engine: await GateEngine.open("gate", store, log), connection: new AbortController() };
  };
  let server = await open();
  const steps = new StepRecorder();
  const runtime = new Runtime(steps, () => server);
  return {
    // The same for the tests, whichever process it is that answers.
    engine: new Proxy({} as Engine, {
      get: (_target, key) => {
        const value: unknown = Reflect.get(server.engine, key, server.engine);
        return typeof value === "function" ? value.bind(server.engine) : value;
      },
    }),
    steps,
    start: (script, { delayMs = 0 } = {}) => runtime.start(script, delayMs),
    signal: async (id) => runtime.signal(id),
    cancel: (id) => runtime.cancel(id),
    handlerOf: ({ does }) => `${does}/run`,
    async crash() {
      const before = server;
      await before.store.close();
      before.connection.abort(new Error("the server is gone"));
      await before.engine.close();
      server = await open();
    },
    async stop() {
      steps.close();
      runtime.stop();
      server.connection.abort(new Error("the test is over"));
      await server.engine.close();
      await server.store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

interface Connected {
  readonly engine: GateEngine;
  readonly connection: AbortController;
}

/** A runtime that asks, told what to do by scripts. */
class Runtime {
  readonly #steps: StepRecorder;
  readonly #server: () => Connected;
  readonly #signals = new Map<string, PromiseWithResolvers<void>>();
  readonly #running = new Map<string, AbortController>();
  readonly #queues = new Map<string, Promise<unknown>>();
  #count = 0;

  constructor(steps: StepRecorder, server: () => Connected) {
    this.#steps = steps;
    this.#server = server;
  }

  async start(script: Script, delayMs: number, parentId?: string): Promise<string> {
    const id = `run-${process.pid}-${++this.#count}-${Math.random().toString(36).slice(2)}`;
    const run = { id, type: script.does, name: `${script.does} ${id}`, labels: { owner: "test-team" }, parentId };
    this.#signals.set(id, Promise.withResolvers());
    const canceled = new AbortController();
    this.#running.set(id, canceled);
    await this.#tell({ kind: "runStarted", time: Date.now(), run });
    void this.#run(id, script, delayMs, canceled.signal);
    return id;
  }

  signal(id: string): void {
    this.#signals.get(id)?.resolve();
  }

  async cancel(id: string): Promise<void> {
    const running = this.#running.get(id);
    if (running === undefined) return;
    running.abort(new Error("canceled"));
    await this.#end(id, "canceled", "");
  }

  stop(): void {
    for (const running of this.#running.values()) running.abort(new Error("stopped"));
  }

  async #run(id: string, script: Script, delayMs: number, signal: AbortSignal): Promise<void> {
    try {
      await delay(delayMs, undefined, { signal });
      if (script.does === "queue") {
        const before = this.#queues.get(script.key);
        const own = Promise.resolve(before).then(() => this.#perform(id, script, signal));
        this.#queues.set(
          script.key,
          own.catch(() => undefined),
        );
        await own;
      } else await this.#perform(id, script, signal);
      await this.#end(id, "completed", "");
    } catch (error) {
      if (!signal.aborted) await this.#end(id, "failed", String(error));
    }
  }

  async #perform(id: string, script: Script, signal: AbortSignal): Promise<void> {
    const step = (n: number, ms: number) => this.#step(id, `step-${n}`, () => delay(ms, undefined, { signal }), signal);
    switch (script.does) {
      case "steps":
      case "queue":
        for (let n = 1; n <= script.count; n++) await step(n, script.ms);
        return;
      case "sleep":
        await step(1, 20);
        await delay(script.ms, undefined, { signal });
        return step(2, 20);
      case "await":
        await step(1, 20);
        this.#steps.awaits(id, id);
        await Promise.race([this.#signals.get(id)?.promise, aborted(signal)]);
        return step(2, 20);
      case "fail":
        await step(1, 20);
        throw new Error("out of budget");
      case "retry": {
        await step(1, 20);
        for (let failed = 0; failed < script.failures; failed++) {
          const fail = () => Promise.reject(new Error("flaky step failed"));
          await this.#step(id, "step-2", fail, signal).catch(() => delay(100, undefined, { signal }));
        }
        await step(2, 20);
        return step(3, 20);
      }
      case "parallel":
        await Promise.all([1, 2, 3, 4].map((n) => step(n, script.ms * n)));
        return step(5, script.ms);
      case "parent": {
        await step(1, 20);
        const child = await this.start({ does: "steps", count: script.count, ms: script.ms }, 0, id);
        while (this.#running.has(child)) await delay(20, undefined, { signal });
        return step(2, 20);
      }
    }
  }

  async #step(id: string, name: string, body: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const step = { id: name, name };
    for (;;) {
      const { engine, connection } = this.#server();
      try {
        await engine.runs.ask({ run: { id }, step }, AbortSignal.any([signal, connection.signal]));
        break;
      } catch {
        signal.throwIfAborted();
        await delay(50, undefined, { signal });
      }
    }
    const ended = (outcome: "succeeded" | "failed", errorMessage: string) =>
      this.#tell({ kind: "stepEnded", time: Date.now(), runId: id, stepId: name, outcome, errorMessage });
    try {
      await this.#steps.run(id, name, body);
    } catch (error) {
      await ended("failed", String(error));
      throw error;
    }
    await ended("succeeded", "");
  }

  async #end(id: string, outcome: RunOutcome, errorMessage: string): Promise<void> {
    await this.#tell({ kind: "runEnded", time: Date.now(), runId: id, outcome, errorMessage });
    this.#running.delete(id);
  }

  /** Told until somebody has heard it. */
  async #tell(event: GateEvent): Promise<void> {
    for (;;) {
      const { engine, connection } = this.#server();
      try {
        await engine.runs.report([event]);
        if (!connection.signal.aborted) return;
      } catch {
        // The server is gone: the next one is told.
      }
      await delay(50);
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
