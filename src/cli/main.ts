import { homedir, userInfo } from "node:os";
import { CommanderError } from "commander";
import { exitCodes, reportFailure } from "./failure.ts";
import { createProgram } from "./program.ts";

/** The process: environment, signals, exit code. */

const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // A second one ends the process at once.
  process.once(signal, () => interrupt.abort());
}
// `mctl list | head` is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? exitCodes.ok : exitCodes.error);
});

let usage = "";
let server: string | undefined;
const { env } = process;
const program = createProgram(
  {
    env,
    cwd: process.cwd(),
    home: homedir(),
    user: userName(),
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupt.signal,
    reportServer: (name) => {
      server = name;
    },
    setExitCode: (code) => {
      process.exitCode = code;
    },
  },
  (text) => {
    usage += text;
  },
);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  const json = (program.opts<{ output?: string }>().output ?? env.MCTL_OUTPUT) === "json";
  if (error instanceof CommanderError) {
    if (error.exitCode !== 0) {
      const status = { code: 3, message: error.message.replace(/^error: /, "") };
      process.stderr.write(json ? `${JSON.stringify(status)}\n` : usage);
      process.exitCode = exitCodes.usage;
    }
  } else {
    const report = reportFailure(error, server);
    process.stderr.write(json ? `${JSON.stringify(report.status)}\n` : report.text);
    process.exitCode = interrupt.signal.aborted ? exitCodes.interrupted : report.exitCode;
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no name.
    return `uid-${process.getuid?.() ?? 0}`;
  }
}
