import { RestateEngine } from "../../../src/engines/restate.ts";
import { startTestEngine, type TestEngine } from "../../fixture/restate.ts";
import type { EngineHarness, Script } from "./harness.ts";
import { type HttpApi, httpLink } from "./http-link.ts";

/** Restate's own server, in one of its two modes, with the test agents. */
export async function restateHarness(virtualQueues: boolean): Promise<EngineHarness> {
  const real = await startTestEngine({ virtualQueues });
  const engine = new RestateEngine("restate", { socketPath: real.adminSocket });
  const control = async (id: string, action: string) => {
    const { status, body } = await real.admin("PATCH", `/invocations/${id}/${action}`);
    if (status >= 300) throw new Error(`${action} ${id}: ${status} ${body}`);
  };
  return {
    engine,
    steps: real.steps,
    start: (script, { delayMs } = {}) => real.start(targetOf(script), script, delayMs === undefined ? {} : { delayMs }),
    signal: (id) => real.resolveAwakeable(id),
    cancel: (id) => control(id, "cancel"),
    pauseElsewhere: (id) => control(id, "pause"),
    handlerOf: (script) => {
      const parts = targetOf(script).split("/");
      return `${parts[0]}/${parts.at(-1)}`;
    },
    link: () => httpLink(restateHttp(real), (port) => new RestateEngine("restate", { host: "127.0.0.1", port })),
    crash: () => real.crashEngine(),
    async stop() {
      engine.close();
      await real.stop();
    },
  };
}

/** What a bad line between an adapter and this server has to know. */
export function restateHttp({ adminSocket }: TestEngine): HttpApi {
  return {
    socketPath: adminSocket,
    isGreeting: (_method, path) => path === "/version",
    accepted: (method, path) => {
      if (method === "PATCH") return { status: 202, body: "" };
      return path.startsWith("/internal/") ? { status: 200, body: '{"succeeded": [], "failed": []}' } : undefined;
    },
  };
}

function targetOf(script: Script): string {
  switch (script.does) {
    case "steps":
      return "Steps/run";
    case "sleep":
      return script.idle ? "SuspendedSleeper/run" : "Sleeper/run";
    case "await":
      return script.idle ? "SuspendedAwaiter/run" : "Awaiter/run";
    case "fail":
      return "Failing/run";
    case "retry":
      return "Flaky/run";
    case "parallel":
      return "Parallel/run";
    case "parent":
      return "Parent/run";
    case "queue":
      return `Queue/${script.key}/work`;
  }
}
