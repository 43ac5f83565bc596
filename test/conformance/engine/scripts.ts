import { setTimeout as delay } from "node:timers/promises";
import { StepRecorder } from "../../fixture/step-recorder.ts";
import type { Script } from "./harness.ts";

/** A workflow of a runtime that carries scripts out itself, and asks before each step. */
export interface ScriptedRun {
  /** By the engine's id. */
  readonly id: string;
  /** Asks, carries `work` out as soon as it may, and tells. Rejects as `work` does, or with the reason of `canceled`. */
  step(name: string, work: () => Promise<void>, canceled: AbortSignal): Promise<void>;
  /** Tells that it has ended. */
  end(outcome: "completed" | "failed" | "canceled", error: unknown): Promise<void>;
}

/** Begins a workflow, and resolves once the engine knows it. */
export type Begin = (script: Script, parentId?: string) => Promise<ScriptedRun>;

interface Running {
  readonly run: ScriptedRun;
  readonly canceled: AbortController;
  readonly signal: PromiseWithResolvers<void>;
  readonly ended: Promise<void>;
}

/** Carries scripts out for runtimes that have no engine of their own, each step through the gate. */
export class Scripts {
  readonly steps = new StepRecorder();
  readonly #begin: Begin;
  readonly #running = new Map<string, Running>();
  readonly #queues = new Map<string, Promise<void>>();

  constructor(begin: Begin) {
    this.#begin = begin;
  }

  /** Resolves to the workflow's id. */
  async start(script: Script, { delayMs = 0 }: { readonly delayMs?: number } = {}): Promise<string> {
    return (await this.#launch(script, delayMs)).run.id;
  }

  /** Resolves once what it waited for is on its way. */
  async signal(id: string): Promise<void> {
    await this.steps.untilAwakeable(id);
    this.#running.get(id)?.signal.resolve();
  }

  /** Ends it before its time; resolves once that is told. */
  async cancel(id: string): Promise<void> {
    const running = this.#running.get(id);
    running?.canceled.abort(new Error("canceled"));
    await running?.ended;
  }

  stop(): void {
    for (const { canceled } of this.#running.values()) canceled.abort(new Error("stopped"));
    this.steps.close();
  }

  async #launch(script: Script, delayMs: number, parentId?: string): Promise<Running> {
    const run = await this.#begin(script, parentId);
    const canceled = new AbortController();
    const signal = Promise.withResolvers<void>();
    const ended = this.#live(run, script, delayMs, signal.promise, canceled.signal).finally(() =>
      this.#running.delete(run.id),
    );
    const running = { run, canceled, signal, ended };
    this.#running.set(run.id, running);
    return running;
  }

  async #live(
    run: ScriptedRun,
    script: Script,
    delayMs: number,
    signaled: Promise<void>,
    canceled: AbortSignal,
  ): Promise<void> {
    try {
      await delay(delayMs, undefined, { signal: canceled });
      await this.#carryOut(run, script, signaled, canceled);
      await run.end("completed", undefined);
    } catch (error) {
      await run.end(canceled.aborted ? "canceled" : "failed", error);
    }
  }

  async #carryOut(run: ScriptedRun, script: Script, signaled: Promise<void>, canceled: AbortSignal): Promise<void> {
    const pause = (ms: number) => delay(ms, undefined, { signal: canceled });
    const step = (n: number, work: () => Promise<void>) => {
      const name = `step-${n}`;
      return run.step(name, () => this.steps.run(run.id, name, work), canceled);
    };
    const lasting = (n: number, ms: number) => step(n, () => pause(ms));
    const several = async (count: number, ms: number) => {
      for (let n = 1; n <= count; n++) await lasting(n, ms);
    };
    switch (script.does) {
      case "steps":
        return several(script.count, script.ms);
      case "sleep":
        await lasting(1, 20);
        await pause(script.ms);
        return lasting(2, 20);
      case "await":
        await lasting(1, 20);
        this.steps.awaits(run.id, run.id);
        await Promise.race([signaled, aborted(canceled)]);
        return lasting(2, 20);
      case "fail":
        await lasting(1, 20);
        throw new Error("out of budget");
      case "retry":
        await lasting(1, 20);
        for (let failed = 0; failed < script.failures; failed++) {
          await step(2, () => Promise.reject(new Error("flaky step failed"))).catch(() => pause(100));
        }
        await lasting(2, 20);
        return lasting(3, 20);
      case "parallel":
        await Promise.all([1, 2, 3, 4].map((n) => lasting(n, script.ms * n)));
        return lasting(5, script.ms);
      case "parent": {
        await lasting(1, 20);
        const { ended } = await this.#launch({ does: "steps", count: script.count, ms: script.ms }, 0, run.id);
        await Promise.race([ended, aborted(canceled)]);
        return lasting(2, 20);
      }
      case "queue": {
        const before = this.#queues.get(script.key);
        const own = Promise.resolve(before).then(() => several(script.count, script.ms));
        this.#queues.set(
          script.key,
          own.catch(() => undefined),
        );
        return own;
      }
    }
  }
}

/** Rejects once it is aborted; at once where it is already: whoever cancels may come first. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
