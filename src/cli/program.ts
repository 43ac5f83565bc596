import { Command } from "commander";
import { auditCommand } from "./commands/audit.ts";
import { brakeCommand } from "./commands/brake.ts";
import { canCommand } from "./commands/can.ts";
import { gateCommand } from "./commands/gate.ts";
import { getCommand } from "./commands/get.ts";
import { healthCommand } from "./commands/health.ts";
import { listCommand } from "./commands/list.ts";
import { signingKeyCommand } from "./commands/make-signing-key.ts";
import { pauseCommand } from "./commands/pause.ts";
import { policyCommand } from "./commands/policy.ts";
import { resumeCommand } from "./commands/resume.ts";
import { tokenCommand } from "./commands/token.ts";
import { traceCommand } from "./commands/trace.ts";
import { watchCommand } from "./commands/watch.ts";
import type { Host } from "./session.ts";

const about = `
Settings come from flags, then the environment (MCTL_SERVER, MCTL_TOKEN,
MCTL_TOKEN_FILE, MCTL_SIGNING_KEY, MCTL_CONTEXT, MCTL_OUTPUT, MCTL_TIMEOUT, MCTL_DATA_DIR), then
the current context of mission-control/config.json in $XDG_CONFIG_HOME or
~/.config:
  {"currentContext": "prod",
   "contexts": {"prod": {"server": "https://…:8030", "tokenFile": "/run/t.jwt"}}}
A context has server, token, tokenFile, signingKey, output, timeout. Its token goes to its
own server only.

Where no token is given and the server is on this machine, mctl signs in as you
with a 5-minute token (roles sre, auditor) by the key of Mission Control's dev
mode, if .mission-control/ is in this folder or one above.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 5 failed
precondition, 6 unavailable, 7 the wait ended before the standstill (or the
release of all) was seen, 8 the brake awaits a second person's approval,
9 not verified, 130 interrupted. Times are in UTC.

Examples:
  $ mctl list
  $ mctl pause restate:inv_1abc --reason "pays twice, INC-42"
  $ mctl trace restate:inv_1abc
  $ mctl brake preview --type RefundAgent`;

/** The whole command line. Parsing throws CommanderError; commands throw what src/cli/failure.ts reports. */
export function createProgram(host: Host, writeErr: (text: string) => void): Command {
  const program = new Command("mctl")
    .description("The brake pedal for AI agents: list, inspect, pause and resume workflows through Mission Control.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr,
      outputError: (text, write) => write(text.replace(/^error: /, "mctl: ")),
      getOutHelpWidth: () => host.stdout.columns ?? 100,
      getErrHelpWidth: () => host.stderr.columns ?? 100,
    })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("Examples and all flags: add --help.")
    .option("-o, --output <format>", "table for people, json (proto3 JSON, one object; NDJSON for watch) for machines")
    .option("--server <url>", "where Mission Control listens (default: http://127.0.0.1:8030)")
    .option("--token <jwt>", "bearer token; shows in the process list, so prefer --token-file")
    .option("--token-file <path>", "file with the bearer token, read anew for each call")
    .option("--signing-key <path>", "sign control calls with this key of yours (mctl make-signing-key)")
    .option("--context <name>", "a context of the config file")
    .option("--timeout <duration>", "how long an answer may take, beyond --wait (default: 10s)")
    .option("--data-dir <path>", "where dev mode keeps its files (default: .mission-control here or above)")
    .option("--no-color", "no colours; NO_COLOR in the environment does the same")
    .addHelpText("after", about);
  for (const command of [
    listCommand,
    getCommand,
    traceCommand,
    pauseCommand,
    resumeCommand,
    watchCommand,
    brakeCommand,
    healthCommand,
    auditCommand,
    tokenCommand,
    signingKeyCommand,
    canCommand,
    policyCommand,
    gateCommand,
  ]) {
    command(program, host);
  }
  return program;
}
