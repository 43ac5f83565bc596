import { parseArgs } from "node:util";
import { ConfigError } from "./config-error.ts";
import type { ConfigDocument } from "./document.ts";
import { readConfigFile } from "./file.ts";
import { logLevels } from "./sections/log-level.ts";

/** What dev mode can be told; everything has a default. */
export interface DevConfig {
  /** Loopback only. */
  readonly host: string;
  readonly port: number;
  /** Where everything that lasts is kept. */
  readonly dataDir: string;
  /** The loopback port on which the sample agents serve the engine. It has to stay the same: runs are bound to it. */
  readonly agentsPort: number;
  /** False: only the embedded engine, no sample agents. */
  readonly agents: boolean;
  /** The embedded engine's virtual queues, which its next release turns on. */
  readonly virtualQueues: boolean;
  /** Whether what runs of dev mode's own gate engines are given is kept, without secrets. */
  readonly keepInputs: boolean;
  /** Drill the brake after so much time, again and again, ms; undefined: only when asked. */
  readonly drillEveryMs: number | undefined;
  /** Why to go on with a ledger that is not what was published; undefined: not. */
  readonly acknowledgeLedgerRollback: string | undefined;
  /** On stderr; the log file has everything from info up. */
  readonly logLevel: string;
  /** What the configuration file says, an empty one where there is none; the values above have it in them already. */
  readonly file: ConfigDocument;
}

export const devUsage = `Usage: mission-control dev [options]

Starts Mission Control in dev mode: an embedded Restate engine, sample agents, a dev issuer of tokens. Loopback only.

Options (each also as an environment variable; both win over the configuration file)
  --config <file>     a configuration file as "serve" takes it, everything in it optional; the embedded engine and the dev
                      issuer are added to what it names (MC_CONFIG)
  --port <n>          the port to serve on (MC_PORT, default 8030; 0: any free one)
  --host <address>    the loopback address to bind (MC_HOST, default 127.0.0.1)
  --data-dir <dir>    where everything is kept (MC_DATA_DIR, default .mission-control)
  --agents-port <n>   the sample agents' port (MC_AGENTS_PORT, default 8031)
  --no-agents         start no sample agents (MC_AGENTS=false)
  --virtual-queues    start the engine with virtual queues on (MC_VIRTUAL_QUEUES=true)
  --keep-inputs       keep what runs on dev mode's own engines "ai-first" and "agents" are given, without secrets, for
                      their traces (MC_KEEP_INPUTS=true); in a configuration file: inputs of an engine
  --drill-every <t>   drill the brake on a canary that often, 1m to 24h, like 10m (MC_DRILL_EVERY; default: only when
                      somebody asks for it, with mctl brake drill)
  --log-level <level> debug, info, warn or error on stderr (MC_LOG_LEVEL, default error); the file below the
                      data directory has everything from info up
  --acknowledge-ledger-rollback <reason>
                      go on, this once, with a ledger that is not what was published; the reason is kept in it, signed
  --help              show this
`;

/** What dev mode calls the engine that it brings. */
export const embeddedEngineName = "restate";

const loopback = ["127.0.0.1", "::1", "localhost"];

/** Reads the arguments behind "dev", then the environment, then the configuration file, then the defaults. Throws ConfigError with all faults at once. */
export function readDevConfig(args: readonly string[], env: Readonly<Record<string, string | undefined>>): DevConfig {
  const flags = parseFlags(args);
  const faults: string[] = [];
  const text = (flag: string, variable: string, fallback: string): string => {
    const value = flags[flag] ?? env[variable];
    return typeof value === "string" && value !== "" ? value : fallback;
  };
  const port = (flag: string, variable: string, fallback: number): number => {
    const value = text(flag, variable, String(fallback));
    if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) {
      faults.push(`--${flag} (${variable}) has to be a port from 0 to 65535, not "${value}"`);
    }
    return Number(value);
  };
  const truth = (flag: string, variable: string, fallback: boolean): boolean => {
    const given = flags[flag];
    if (typeof given === "boolean") return given;
    const value = env[variable];
    if (value === undefined || value === "") return fallback;
    if (value !== "true" && value !== "false") faults.push(`${variable} has to be true or false, not "${value}"`);
    return value === "true";
  };
  const period = (flag: string, variable: string): number | undefined => {
    const value = text(flag, variable, "");
    if (value === "") return undefined;
    const [, count = "0", unit] = /^(\d{1,4})(m|h)$/.exec(value) ?? [];
    const minutes = Number(count) * (unit === "h" ? 60 : 1);
    if (minutes < 1 || minutes > 24 * 60) {
      faults.push(`--${flag} (${variable}) has to be a time from 1m to 24h, like 10m, not "${value}"`);
    }
    return minutes * 60_000;
  };
  const fileName = text("config", "MC_CONFIG", "");
  const file = fileName === "" ? {} : readConfigFile(fileName);
  const config: DevConfig = {
    host: text("host", "MC_HOST", file.listen?.host ?? "127.0.0.1"),
    port: port("port", "MC_PORT", file.listen?.port ?? 8030),
    dataDir: text("data-dir", "MC_DATA_DIR", file.data_dir ?? ".mission-control"),
    agentsPort: port("agents-port", "MC_AGENTS_PORT", 8031),
    agents: truth("agents", "MC_AGENTS", true),
    virtualQueues: truth("virtual-queues", "MC_VIRTUAL_QUEUES", false),
    keepInputs: truth("keep-inputs", "MC_KEEP_INPUTS", false),
    drillEveryMs: period("drill-every", "MC_DRILL_EVERY"),
    acknowledgeLedgerRollback: text("acknowledge-ledger-rollback", "", "") || undefined,
    logLevel: text("log-level", "MC_LOG_LEVEL", file.log_level ?? "error"),
    file,
  };
  if (!loopback.includes(config.host)) {
    faults.push(
      `--host (MC_HOST, listen.host) is "${config.host}": dev mode has dev keys, so it binds loopback only (${loopback.join(", ")})`,
    );
  }
  if (!logLevels.some((level) => level === config.logLevel)) {
    faults.push(`--log-level (MC_LOG_LEVEL) has to be one of ${logLevels.join(", ")}, not "${config.logLevel}"`);
  }
  if (config.agentsPort === config.port && config.port !== 0) faults.push("--agents-port has to differ from --port");
  if (file.engines?.some(({ name }) => name === embeddedEngineName)) {
    faults.push(`engines: "${embeddedEngineName}" is the name of dev mode's embedded engine: give yours another`);
  }
  if (config.drillEveryMs !== undefined && !config.agents) {
    faults.push("--drill-every (MC_DRILL_EVERY) needs the sample agents: one of them is the canary that is braked");
  }
  if (faults.length > 0) throw new ConfigError(faults.join("\n"));
  return config;
}

function parseFlags(args: readonly string[]): Record<string, string | boolean | undefined> {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowNegative: true,
      options: {
        config: { type: "string" },
        host: { type: "string" },
        port: { type: "string" },
        "data-dir": { type: "string" },
        "agents-port": { type: "string" },
        agents: { type: "boolean" },
        "virtual-queues": { type: "boolean" },
        "keep-inputs": { type: "boolean" },
        "drill-every": { type: "string" },
        "log-level": { type: "string" },
        "acknowledge-ledger-rollback": { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : String(error)}\n\n${devUsage}`);
  }
}
