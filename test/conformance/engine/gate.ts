import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Engine } from "../../../src/engines/engine.ts";
import type { GateEvent } from "../../../src/engines/gate/events.ts";
import { GateEngine } from "../../../src/engines/gate.ts";
import { createLog } from "../../../src/log.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";
import { engineOf } from "./engine-of.ts";
import type { EngineHarness, Script } from "./harness.ts";
import { type ScriptedRun, Scripts } from "./scripts.ts";

/** The gate engine with a runtime in this process, which asks before each step and asks again where it lost the connection. */
export async function gateHarness(): Promise<EngineHarness> {
  const dir = mkdtempSync(join(tmpdir(), "mc-gate-"));
  const log = createLog("silent");
  const open = async () => {
    const store = openSqlite(join(dir, "mission-control.db"));
    return { store, engine: await GateEngine.open("gate", store, log), connection: new AbortController() };
  };
  let server = await open();
  const runtime = new Scripts(begin(() => server));
  return {
    engine: engineOf<Engine>(() => server.engine),
    steps: runtime.steps,
    start: (script, options) => runtime.start(script, options),
    signal: (id) => runtime.signal(id),
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

/** Workflows that ask the server that there is at the moment, and tell it what they do. */
function begin(server: () => Connected) {
  let count = 0;
  /** Told until somebody has heard it. */
  const tell = async (event: GateEvent): Promise<void> => {
    for (;;) {
      const { engine, connection } = server();
      try {
        await engine.runs.report([event]);
        if (!connection.signal.aborted) return;
      } catch {
        // The server is gone: the next one is told.
      }
      await delay(50);
    }
  };
  const asked = async (id: string, name: string, canceled: AbortSignal): Promise<void> => {
    for (;;) {
      const { engine, connection } = server();
      try {
        return await engine.runs.ask(
          { run: { id }, step: { id: name, name } },
          AbortSignal.any([canceled, connection.signal]),
        );
      } catch {
        canceled.throwIfAborted();
        await delay(50, undefined, { signal: canceled });
      }
    }
  };
  return async ({ does }: Script, parentId?: string): Promise<ScriptedRun> => {
    const id = `run-${process.pid}-${++count}-${Math.random().toString(36).slice(2)}`;
    const run = { id, type: does, name: `${does} ${id}`, labels: { owner: "test-team" }, parentId };
    await tell({ kind: "runStarted", time: Date.now(), run });
    const stepEnded = (stepId: string, outcome: "succeeded" | "failed", errorMessage: string) =>
      tell({ kind: "stepEnded", time: Date.now(), runId: id, stepId, outcome, errorMessage });
    return {
      id,
      async step(name, work, canceled) {
        await asked(id, name, canceled);
        try {
          await work();
        } catch (error) {
          await stepEnded(name, "failed", String(error));
          throw error;
        }
        await stepEnded(name, "succeeded", "");
      },
      end: (outcome, error) =>
        tell({
          kind: "runEnded",
          time: Date.now(),
          runId: id,
          outcome,
          errorMessage: outcome === "failed" ? String(error) : "",
        }),
    };
  };
}
