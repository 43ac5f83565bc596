import { extname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../log.ts";
import { StartupError } from "../process/startup-error.ts";
import { endLeftover } from "./pid-file.ts";
import { registerDeployment } from "./register-deployment.ts";
import { openRotatingLog } from "./rotating-log.ts";
import { type Supervised, supervise } from "./supervisor.ts";

/** Above the longest step: from SIGTERM on, the agents finish what is in flight. */
const stopTimeoutMs = 10_000;

/**
 * Ends the agents that a kill -9 of Mission Control left over. Before the engine that was left over with them is ended: they
 * finish the steps in flight, and if that engine did not hear of it, the next one would have the steps run again.
 */
export async function endLeftoverAgents(dataDir: string, log: Logger): Promise<void> {
  const pid = await endLeftover(pidFileIn(dataDir), stopTimeoutMs);
  if (pid !== undefined) log.warn({ pid }, "ended the sample agents that an earlier start left over");
}

/**
 * Runs the sample agents, and the driver that keeps some of them busy, in a process of their own, and makes them known to the
 * engine. They work in `<dataDir>/work` and log to `<dataDir>/logs/agents.log`. The caller holds the data directory's lock.
 * Stop them before the engine: they finish the steps in flight, and the engine has to hear of it.
 * @throws StartupError: port in use, agents refused by the engine.
 */
export async function startAgents(options: {
  dataDir: string;
  /** On 127.0.0.1. The same at every start: the engine looks for its open runs' agents there. */
  port: number;
  adminSocket: string;
  ingressSocket: string;
  log: Logger;
  /** Mission Control's address and the file with a token for it: their gate attaches there once it is up. */
  gate?: { url: string; tokenFile: string } | undefined;
  /** False: the agents only, nobody starts runs. */
  driver?: boolean;
}): Promise<Supervised> {
  const { port, adminSocket, ingressSocket, log, gate, driver = true } = options;
  const dataDir = resolve(options.dataDir);
  if (port === 0) {
    throw new StartupError(
      "The sample agents need a fixed port (--agents-port): the engine looks for them there again.",
    );
  }
  const root = join(import.meta.dirname, "..", "..");
  const logFile = openRotatingLog(join(dataDir, "logs", "agents.log"), 16 << 20);
  const listening = new Set<() => void>();
  try {
    const supervised = await supervise(
      {
        name: "sample agents",
        command: process.execPath,
        // Built, this file and that one are JavaScript both.
        args: [join(root, "examples", "agents", `main${extname(import.meta.filename)}`)],
        env: {
          AGENTS_PORT: String(port),
          AGENTS_DATA_DIR: dataDir,
          AGENTS_WORK_DIR: join(dataDir, "work"),
          AGENTS_PACKAGES_DIR: packagesDir(),
          ...(gate ? { MC_GATE_URL: gate.url, MC_GATE_TOKEN_FILE: gate.tokenFile } : {}),
          ...(driver ? { AGENTS_INGRESS_SOCKET: ingressSocket } : {}),
        },
        cwd: dataDir,
        pidFile: pidFileIn(dataDir),
        ready: async (signal) => {
          await new Promise<void>((resolve) => {
            listening.add(resolve);
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
          listening.clear();
          await register(adminSocket, `http://127.0.0.1:${port}`, signal);
        },
        readyTimeoutMs: 30_000,
        stopTimeoutMs,
        onLine: (line) => {
          logFile.write(line);
          log.debug(`agents: ${line.slice(0, 1000)}`);
          if (line.startsWith("agents listening")) for (const resolve of listening) resolve();
        },
        explain: (lines) => explain(lines, port),
      },
      log,
    );
    return {
      state: () => supervised.state(),
      onState: (callback) => supervised.onState(callback),
      stop: async () => {
        await supervised.stop();
        logFile.close();
      },
    };
  } catch (error) {
    logFile.close();
    throw error;
  }
}

function pidFileIn(dataDir: string): string {
  return join(dataDir, "agents.pid");
}

/** An engine that is just being restarted is asked again. */
async function register(adminSocket: string, uri: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await registerDeployment(adminSocket, uri, AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
    } catch (error) {
      if (error instanceof StartupError) throw error;
    }
    await delay(200, undefined, { signal });
  }
}

/** The node_modules folder that this installation uses. */
function packagesDir(): string {
  const sdk = import.meta.resolve("@restatedev/restate-sdk");
  const path = new URL(sdk).pathname;
  return decodeURIComponent(path.slice(0, path.lastIndexOf("/node_modules/") + "/node_modules".length));
}

function explain(lastLines: readonly string[], port: number): string | undefined {
  if (!lastLines.some((line) => line.includes("EADDRINUSE"))) return undefined;
  return (
    `Port ${port} on 127.0.0.1 is in use. Stop what listens there (\`lsof -i :${port}\` shows it), or choose another port for ` +
    "the sample agents (--agents-port)."
  );
}
