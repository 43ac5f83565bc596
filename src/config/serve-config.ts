import { parseArgs } from "node:util";
import type { EngineConfig } from "../engines/open.ts";
import type { IssuerConfig } from "../identity/issuer.ts";
import { ConfigError } from "./config-error.ts";
import type { ConfigDocument } from "./document.ts";
import { readConfigFile } from "./file.ts";
import { productionFaults } from "./production.ts";

/** What production is told: a configuration file, with what it cannot do without. */
export interface ServeConfig {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly logLevel: string;
  readonly engines: readonly EngineConfig[];
  readonly issuers: readonly IssuerConfig[];
  /** The whole file; the values above have it in them already. */
  readonly file: ConfigDocument;
  /** Why to go on with a ledger that is not what was published; undefined: not. */
  readonly acknowledgeLedgerRollback: string | undefined;
  /** Only look whether it could start. */
  readonly check: boolean;
}

export const serveUsage = `Usage: mission-control serve --config <file> [--check]

Starts Mission Control for production. Everything is said in the configuration file (docs/configuration.md).

Options
  --config <file>     the configuration file, YAML or JSON (MC_CONFIG)
  --acknowledge-ledger-rollback <reason>
                      go on, this once, with a ledger that is not what was published; the reason is kept in it, signed
  --check             only check the file and the files that it names, then exit: 0 where all is well, 2 where not
  --help              show this
`;

/**
 * Reads the arguments behind "serve", and the configuration file.
 *
 * @throws ConfigError with every fault: keys that are not known, and what production refuses (no TLS without a stated reason,
 * no issuer, dev keys).
 */
export function readServeConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ServeConfig {
  const flags = parseFlags(args);
  const name = flags.config ?? env.MC_CONFIG ?? "";
  if (name === "") throw new ConfigError(`--config (MC_CONFIG) has to name the configuration file\n\n${serveUsage}`);
  const file = readConfigFile(name);
  const faults = productionFaults(file);
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `${name}: ${fault}`).join("\n"));
  return {
    host: file.listen?.host ?? "0.0.0.0",
    port: file.listen?.port ?? 8030,
    dataDir: file.data_dir as string,
    logLevel: file.log_level ?? "info",
    engines: file.engines ?? [],
    issuers: file.identity?.issuers ?? [],
    file,
    acknowledgeLedgerRollback: flags["acknowledge-ledger-rollback"],
    check: flags.check === true,
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      options: {
        config: { type: "string" },
        check: { type: "boolean" },
        "acknowledge-ledger-rollback": { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : String(error)}\n\n${serveUsage}`);
  }
}
