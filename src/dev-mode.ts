import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type DevConfig, embeddedEngineName } from "./config/dev-config.ts";
import { configuredOptions, configuredPolicy } from "./configured-options.ts";
import { endLeftoverAgents, startAgents } from "./dev/agents-process.ts";
import { sampleCanary } from "./dev/canary.ts";
import { type EmbeddedRestate, startEmbeddedRestate } from "./dev/embedded-restate.ts";
import { devGateEngines } from "./dev/gate-engines.ts";
import { runtimesToken, sampleAgentsToken, writeGateToken } from "./dev/gate-token.ts";
import { openRotatingLog, type RotatingLog } from "./dev/rotating-log.ts";
import type { Supervised, SupervisedState } from "./dev/supervisor.ts";
import { gatesAmong, type OpenEngine, openEngines } from "./engines/open.ts";
import { devKeyPath, openDevIssuer } from "./identity/dev-issuer.ts";
import { createLog } from "./log.ts";
import { type DataDirLock, lockDataDir } from "./process/data-dir-lock.ts";
import { cannotListen, urlOf } from "./process/listening.ts";
import { packageVersion } from "./process/package.ts";
import { StartupError } from "./process/startup-error.ts";
import { type Server, startServer } from "./server.ts";
import type { Component, ComponentReport } from "./services/health.ts";

const maxLogBytes = 16 << 20;

/**
 * The composition of dev mode: an embedded engine, the server over it, a dev issuer and the sample agents, all below one data
 * directory and on loopback. Throws StartupError where something stands in the way, with what to do about it.
 *
 * The agents come last: whatever is braked is held before they take a step. They go before the engine, which has to hear how
 * the steps in flight ended: what it does not know of, it has run again.
 *
 * @param say prints a line for people.
 */
export async function startDevMode(
  config: DevConfig,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<{ close(): Promise<void> }> {
  const { file } = config;
  const dataDir = resolve(config.dataDir);
  let lock: DataDirLock | undefined;
  let logFile: RotatingLog | undefined;
  let restate: EmbeddedRestate | undefined;
  const engines: OpenEngine[] = [];
  let server: Server | undefined;
  let agents: Supervised | undefined;
  const close = async () => {
    await server?.close();
    await agents?.stop();
    for (const engine of engines) engine.close();
    await restate?.stop();
    logFile?.close();
    lock?.release();
  };
  try {
    lock = lockDataDir(dataDir);
    refuseProductionData(dataDir);
    logFile = openRotatingLog(join(dataDir, "logs", "mission-control.log"), maxLogBytes);
    const log = createLog(config.logLevel, logFile);
    say("Starting the embedded Restate engine …");
    await endLeftoverAgents(dataDir, log);
    const started = await startEmbeddedRestate({ dataDir, log, virtualQueues: config.virtualQueues });
    restate = started;
    signal.throwIfAborted();
    const components = [supervised("engine process", () => started.state())];
    if (config.agents) components.push(supervised("sample agents", () => agents?.state()));
    const issuer = await openDevIssuer(dataDir);
    const embedded = {
      name: embeddedEngineName,
      kind: "restate",
      address: { socketPath: started.adminSocket },
    } as const;
    const given = file.engines ?? [];
    // An entry of the file takes the place of dev mode's own.
    const ownGates = devGateEngines(config.keepInputs).filter(({ name }) => !given.some((one) => one.name === name));
    const gateEngines = [...gatesAmong(given), ...ownGates];
    engines.push(...openEngines([embedded, ...given]));
    const configured = configuredOptions(file);
    const drillEveryMs = config.drillEveryMs ?? file.drill?.every;
    server = await startServer({
      host: config.host,
      port: config.port,
      databasePath: join(dataDir, "mission-control.db"),
      ...configured,
      ...(await configuredPolicy(file)),
      engines,
      gateEngines,
      issuers: [issuer.config, ...(file.identity?.issuers ?? [])],
      acknowledgeLedgerRollback: config.acknowledgeLedgerRollback,
      components,
      version: packageVersion(),
      devMode: true,
      log,
      canaries: [
        ...(config.agents ? [sampleCanary(embeddedEngineName, started.ingressSocket)] : []),
        ...configured.canaries,
      ],
      ...(drillEveryMs !== undefined && { drillEveryMs }),
    }).catch((error: unknown) => {
      throw cannotListen(error, config, { host: "--host", port: "--port" }) ?? error;
    });
    signal.throwIfAborted();
    for (const { name } of gateEngines) await writeGateToken(server.gateTokens, runtimesToken(name), dataDir);
    if (config.agents) {
      say("Starting the sample agents …");
      const { adminSocket, ingressSocket } = started;
      const gate = {
        url: urlOf(server, "http"),
        tokenFile: await writeGateToken(server.gateTokens, sampleAgentsToken(embeddedEngineName), dataDir),
      };
      agents = await startAgents({ dataDir, port: config.agentsPort, adminSocket, ingressSocket, gate, log });
      signal.throwIfAborted();
    }
    for (const line of banner(server, dataDir, config)) say(line);
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** With dev keys, whoever reads a file could release production's brakes. */
function refuseProductionData(dataDir: string): void {
  if (!existsSync(join(dataDir, "mission-control.db")) || existsSync(join(dataDir, devKeyPath[0]))) return;
  throw new StartupError(
    `The data directory ${dataDir} is one of production: there is a ledger in it, and it never had dev keys. Start dev mode with ` +
      "another directory (--data-dir).",
  );
}

/** `state`: undefined before it is started. */
function supervised(name: string, state: () => SupervisedState | undefined): Component {
  return {
    name,
    check: (): ComponentReport => {
      const { status, message, restarts } = state() ?? { status: "starting", message: "", restarts: 0 };
      const facts = [message, restarts > 0 ? `restarted ${restarts} times` : ""].filter((fact) => fact !== "");
      return { status: status === "ready" ? "healthy" : "degraded", message: facts.join("; ") || status };
    },
  };
}

function banner(server: Server, dataDir: string, config: DevConfig): string[] {
  const url = urlOf(server, "http");
  const at = url === "http://127.0.0.1:8030" ? "" : ` --server ${url}`;
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
