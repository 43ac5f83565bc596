import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { DevConfig } from "./config.ts";
import { startAgents } from "./dev/agents-process.ts";
import { lockDataDir } from "./dev/data-dir-lock.ts";
import { startEmbeddedRestate } from "./dev/embedded-restate.ts";
import { writeGateToken } from "./dev/gate-token.ts";
import { openRotatingLog } from "./dev/rotating-log.ts";
import { StartupError } from "./dev/startup-error.ts";
import type { SupervisedState } from "./dev/supervisor.ts";
import { RestateEngine } from "./engines/restate.ts";
import { openDevIssuer } from "./identity/dev-issuer.ts";
import { createLog } from "./log.ts";
import { type Server, startServer } from "./server.ts";
import type { Component, ComponentReport } from "./services/health.ts";

const maxLogBytes = 16 << 20;

/**
 * The composition of dev mode: an embedded engine, the sample agents, a dev issuer, and the server over them, all below one
 * data directory and on loopback. Throws StartupError where something stands in the way, with what to do about it.
 *
 * @param say prints a line for people.
 */
export async function startDevMode(
  config: DevConfig,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<{ server: Server; close(): Promise<void> }> {
  const dataDir = resolve(config.dataDir);
  /** What to undo, the latest first. */
  const undo: (() => unknown)[] = [];
  const close = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const lock = lockDataDir(dataDir);
    undo.push(() => lock.release());
    const logFile = openRotatingLog(join(dataDir, "logs", "mission-control.log"), maxLogBytes);
    undo.push(() => logFile.close());
    const log = createLog(config.logLevel, logFile);
    say("Starting the embedded Restate engine …");
    const restate = await startEmbeddedRestate({ dataDir, log, virtualQueues: config.virtualQueues });
    undo.push(() => restate.stop());
    signal.throwIfAborted();
    const issuer = await openDevIssuer(dataDir);
    const components = [supervised("engine process", () => restate.state())];
    if (config.agents) {
      say("Starting the sample agents …");
      const agents = await startAgents({
        dataDir,
        port: config.agentsPort,
        adminSocket: restate.adminSocket,
        ingressSocket: restate.ingressSocket,
        // With --port 0 nobody knows the address yet: then the agents have no gate.
        gate:
          config.port === 0
            ? undefined
            : { url: urlOf(config.host, config.port), tokenFile: await writeGateToken(issuer, dataDir) },
        log,
      });
      undo.push(() => agents.stop());
      components.push(supervised("sample agents", () => agents.state()));
    }
    signal.throwIfAborted();
    const engine = new RestateEngine("restate", { socketPath: restate.adminSocket });
    undo.push(() => engine.close());
    const root = packageRoot();
    const server = await startServer({
      host: config.host,
      port: config.port,
      databasePath: join(dataDir, "mission-control.db"),
      policiesDir: join(root, "policies"),
      engines: [engine],
      issuers: [issuer.config],
      components,
      version: versionOf(root),
      devMode: true,
      log,
    }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") throw error;
      throw new StartupError(
        `port ${config.port} on ${config.host} is in use: stop what listens there, or start with --port <another>`,
      );
    });
    undo.push(() => server.close());
    for (const line of banner(server, dataDir, config)) say(line);
    return { server, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function supervised(name: string, state: () => SupervisedState): Component {
  return {
    name,
    check: (): ComponentReport => {
      const { status, message, restarts } = state();
      const facts = [message, restarts > 0 ? `restarted ${restarts} times` : ""].filter((fact) => fact !== "");
      return { status: status === "ready" ? "healthy" : "degraded", message: facts.join("; ") || status };
    },
  };
}

function banner(server: Server, dataDir: string, config: DevConfig): string[] {
  const url = urlOf(server.address, server.port);
  const at = config.port === 8030 ? "" : ` --server ${url}`;
  const dir = config.dataDir === ".mission-control" ? "" : ` --data-dir ${dataDir}`;
  return [
    "",
    "  ******************************************************************",
    "  *  DEV MODE: dev keys, sample agents, loopback only.             *",
    "  *  Whoever can read the data directory can be anybody here.      *",
    "  ******************************************************************",
    "",
    `  Mission Control serves gRPC, gRPC-Web, Connect and REST on ${url}`,
    `  API docs, interactive      ${url}/docs`,
    `  Data directory, logs/      ${dataDir}`,
    "",
    "  In another terminal:",
    `    npx mctl list${at}${dir}`,
    `    npx mctl pause <workflow> --reason "looks wrong"${at}${dir}`,
    `    npx mctl token --user alice --role sre${dir}`,
    "",
    "  Ctrl-C stops it; what is braked stays braked, and the next start goes on from here.",
    "",
  ];
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Where package.json is: above src/ in a clone, above dist/src/ in the published package. */
function packageRoot(): string {
  const here = import.meta.dirname;
  return here.endsWith(join("dist", "src")) ? dirname(dirname(here)) : dirname(here);
}

function versionOf(root: string): string {
  return (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
}
