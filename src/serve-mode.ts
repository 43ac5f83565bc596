import { join } from "node:path";
import { ConfigError } from "./config/config-error.ts";
import type { ServeConfig } from "./config/serve-config.ts";
import { configuredOptions, configuredPolicy } from "./configured-options.ts";
import { gatesAmong, type OpenEngine, openEngines } from "./engines/open.ts";
import { readTlsFiles } from "./http/tls.ts";
import { readRevocationFile } from "./identity/revocation-file.ts";
import { checkIssuers } from "./identity/verify.ts";
import { createLog } from "./log.ts";
import { Access } from "./policy/access.ts";
import { openPolicy } from "./policy/open.ts";
import { defaultRoles } from "./policy/roles.ts";
import { type DataDirLock, lockDataDir } from "./process/data-dir-lock.ts";
import { cannotListen, urlOf } from "./process/listening.ts";
import { packageVersion } from "./process/package.ts";
import { type Server, startServer } from "./server.ts";

/**
 * The composition of production: the server over the engines and issuers of a configuration file. It logs JSON lines on stderr.
 * Throws StartupError or ConfigError where something stands in the way, with what to do about it.
 *
 * @param say prints a line for people.
 */
export async function startServeMode(
  config: ServeConfig,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<{ close(): Promise<void> }> {
  const { host, port, dataDir, issuers, file } = config;
  await checkServeMode(config);
  let lock: DataDirLock | undefined;
  const engines: OpenEngine[] = [];
  let server: Server | undefined;
  const close = async () => {
    await server?.close();
    for (const engine of engines) engine.close();
    lock?.release();
  };
  try {
    lock = lockDataDir(dataDir);
    const log = createLog(config.logLevel);
    if (file.plaintext_because !== undefined) {
      log.warn({ because: file.plaintext_because }, "the port does without TLS: tokens travel as they are");
    }
    engines.push(...openEngines(config.engines));
    signal.throwIfAborted();
    server = await startServer({
      host,
      port,
      databasePath: join(dataDir, "mission-control.db"),
      ...configuredOptions(file),
      ...(await configuredPolicy(file)),
      engines,
      gateEngines: gatesAmong(config.engines),
      issuers,
      components: [],
      version: packageVersion(),
      devMode: false,
      log,
      tls: file.tls,
      plaintextBecause: file.plaintext_because,
      acknowledgeLedgerRollback: config.acknowledgeLedgerRollback,
      ...(file.drill?.every !== undefined && { drillEveryMs: file.drill.every }),
    }).catch((error: unknown) => {
      throw cannotListen(error, config, { host: "listen.host", port: "listen.port" }) ?? error;
    });
    signal.throwIfAborted();
    say(
      `Mission Control serves gRPC, gRPC-Web, Connect and REST on ${urlOf(server, file.tls === undefined ? "http" : "https")}`,
    );
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Reads all files that the configuration names, as a start would. Throws ConfigError where one cannot be used. */
export async function checkServeMode(config: ServeConfig): Promise<void> {
  const { issuers, file } = config;
  try {
    if (file.tls !== undefined) await readTlsFiles(file.tls);
    new Access(file.roles ?? defaultRoles, { engines: config.engines.map(({ name }) => name) });
    await checkIssuers(issuers);
    if (file.identity?.revocation_file !== undefined) await readRevocationFile(file.identity.revocation_file);
    const { policiesDir, policyRemotes } = await configuredPolicy(file);
    (await openPolicy({ dir: policiesDir, remotes: policyRemotes }, createLog("silent"))).close();
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}
