import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { vi } from "vitest";
import { GateEngine } from "../../../src/engines/gate.ts";
import { type GateServer, startGateServer } from "../../fixture/gate-server.ts";
import { engineOf } from "./engine-of.ts";
import type { EngineHarness, Script } from "./harness.ts";
import { type Begin, type ScriptedRun, Scripts } from "./scripts.ts";

/**
 * An engine of kind ai-first in the real server, and a runtime that asks by HTTP as the AI-First Runtime does; where it got no
 * answer, it asks again. Held is what the server's own brakes hold, engaged and released over its API.
 */
export async function aiFirstHarness(): Promise<EngineHarness> {
  const opened = vi.spyOn(GateEngine, "open");
  const server = await startGateServer();
  const latest = async () => {
    const engines = await Promise.all(opened.mock.results.map(({ value }) => value as Promise<GateEngine>));
    return engines.findLast(({ name }) => name === "ai-first") as GateEngine;
  };
  let engine = await latest();
  const hookUrl = await server.hookUrl();
  const runtime = new Scripts(hookedRuns(hookUrl));
  return {
    engine: engineOf(
      () => engine,
      braking(server, () => engine),
    ),
    steps: runtime.steps,
    start: (script, options) => runtime.start(script, options),
    signal: (id) => runtime.signal(id),
    cancel: (id) => runtime.cancel(id),
    handlerOf: () => "ai-first/run",
    async crash() {
      await server.restart();
      engine = await latest();
    },
    async stop() {
      runtime.stop();
      await server.stop();
      opened.mockRestore();
    },
  };
}

/** What an operator does: nothing but a brake holds anything in a server, and nothing but its release lets it go. */
function braking(server: GateServer, current: () => GateEngine): Pick<GateEngine, "hold" | "release"> {
  /** One brake for each workflow that is held. */
  const engaged = new Map<string, Promise<string>>();
  const engage = async (id: string) => {
    const selector = { workflowIds: [`ai-first:${id}`] };
    const { brake } = await server.brakes.engageBrake({ selector, reason: "test" });
    return brake?.brakeId ?? "";
  };
  return {
    async hold(ids, signal) {
      signal?.throwIfAborted();
      const open = ids.filter((id) => current().runs.isOpen(id));
      for (const id of open) if (!engaged.has(id)) engaged.set(id, engage(id));
      await Promise.all(open.map((id) => engaged.get(id)));
      return current().hold(ids, signal);
    },
    async release(ids, signal) {
      signal?.throwIfAborted();
      const brakes = ids.map((id) => engaged.get(id));
      for (const id of ids) engaged.delete(id);
      const release = async (brake: Promise<string>) =>
        server.brakes.releaseBrake({ brakeId: await brake, reason: "test" });
      await Promise.all(brakes.filter((brake) => brake !== undefined).map(release));
      return current().release(ids, signal);
    },
  };
}

/** Workflows that ask by hooks; each begins when its `pre_execution` is let through. */
export function hookedRuns(url: string): Begin {
  return (script) => begin(url, script);
}

async function begin(url: string, script: Script): Promise<ScriptedRun> {
  const id = randomUUID();
  const traceId = randomUUID();
  const inputs = { given: script.does === "steps" ? script.given : undefined };
  const stepOf = (name: string) => ({
    step: { name, stepType: "capability", capabilityId: "test", agentName: "test-team", riskLevel: "LOW" },
    inputs,
  });
  /** Asked until there is an answer: the runtime's own fail modes have tests of their own. */
  const hook = async (event: string, more: object, canceled?: AbortSignal): Promise<void> => {
    const request = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ event, traceId, workflowId: id, ...more }),
      signal: canceled ?? null,
    };
    for (;;) {
      try {
        const answer = await fetch(url, request);
        const { decision } = (await answer.json()) as { decision?: string };
        if (answer.ok && decision === "ALLOW") return;
      } catch {
        canceled?.throwIfAborted();
      }
      await delay(50, undefined, { signal: canceled });
    }
  };
  await hook("pre_execution", {});
  return {
    id,
    async step(name, work, canceled) {
      await hook("pre_step", stepOf(name), canceled);
      try {
        await work();
      } finally {
        await hook("post_step", stepOf(name));
      }
    },
    end: (outcome) => hook("post_execution", { summary: { status: statuses[outcome] } }),
  };
}

const statuses = { completed: "SUCCESS", failed: "FAILED", canceled: "CANCELED" } as const;
