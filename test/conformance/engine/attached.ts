import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { GateRule } from "../../../src/brakes/gates.ts";
import type { Engine } from "../../../src/engines/engine.ts";
import { createGate, type Gate } from "../../../src/gate/index.ts";
import { aRule } from "../../gate/rule.ts";
import { type GateServer, startGateServer } from "../../gate/server.ts";
import { engineOf } from "./engine-of.ts";
import type { EngineHarness } from "./harness.ts";
import { type Begin, Scripts } from "./scripts.ts";

/** An engine of kind gate, and a runtime that attaches to it with the gate for TypeScript: over a real port, in one process. */
export async function attachedHarness(): Promise<EngineHarness> {
  const server = await startGateServer();
  const token = await server.token(undefined, "agents");
  const limits = { firstDelayMs: 10, longestDelayMs: 50 };
  const gate = createGate({ url: server.url, token, engine: "agents", name: "runtime", limits });
  await gate.ready();
  const { engine, rules } = engineWithRules(server);
  const begin = attachedRuns(gate);
  const runtime = new Scripts(async (script, parentId) => {
    const run = await begin(script, parentId);
    // The engine has an id for it when it was reported.
    while (!engine.isId(run.id)) await delay(2);
    return run;
  });
  return {
    engine,
    steps: runtime.steps,
    start: (script, options) => runtime.start(script, options),
    signal: (id) => runtime.signal(id),
    cancel: (id) => runtime.cancel(id),
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

/** Workflows of this process, reported by the gate. */
export function attachedRuns(gate: Gate): Begin {
  return async (script, parentId) => {
    const inputs = { given: script.does === "steps" ? script.given : undefined };
    const about = { type: script.does, id: randomUUID(), labels: { owner: "test-team" }, inputs };
    const run = gate.start({ ...about, ...(parentId !== undefined && { parentId }) });
    return {
      id: run.id,
      step: (name, work, signal) => run.step(name, work, { signal, inputs }),
      async end(outcome, error) {
        if (outcome === "canceled") run.cancel();
        else if (outcome === "failed") run.end({ error });
        else run.end();
      },
    };
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
  const engine = engineOf<Engine>(() => server.agents, {
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
  });
  return { engine, rules };
}
