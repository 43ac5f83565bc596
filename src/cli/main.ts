import { homedir, userInfo } from "node:os";
import { CommanderError } from "commander";
import { exitCodes, reportFailure } from "./failure.ts";
import { createProgram } from "./program.ts";

/** The process: environment, signals, exit code. */

// A second Ctrl-C ends the process at once. Below npx one Ctrl-C arrives twice, from the terminal and from npm: what comes
// within half a second is the same one.
const interrupt = new AbortController();
let interruptedAt = 0;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupt.signal.aborted && performance.now() - interruptedAt > 500) process.exit(exitCodes.interrupted);
    if (!interrupt.signal.aborted) interruptedAt = performance.now();
    interrupt.abort();
  });
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
    // Opened only by who reads it.
    get stdin() {
      return process.stdin;
    },
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
