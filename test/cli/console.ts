import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { exitCodes, reportFailure } from "../../src/cli/failure.ts";
import { createProgram } from "../../src/cli/program.ts";
import { temporaryFolder } from "./run.ts";

/** What a person saw, without colours and movements of the cursor. */
export interface Seen {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs mctl as on a terminal of the given width, where a person types `typed` when asked; absent: Ctrl-D. */
export async function onTerminal(args: readonly string[], typed?: string, columns = 80): Promise<Seen> {
  const screen = () => Object.assign(new PassThrough(), { isTTY: true, columns }) as unknown as NodeJS.WriteStream;
  const [stdout, stderr] = [screen(), screen()];
  const stdin = Object.assign(new PassThrough(), { isTTY: true }) as unknown as NodeJS.ReadStream;
  (stdin as unknown as PassThrough).end(typed);
  const home = temporaryFolder();
  let code: number = exitCodes.ok;
  const program = createProgram(
    {
      env: { LANG: "C.UTF-8", TERM: "xterm" },
      cwd: home,
      home,
      user: "alice",
      stdin,
      stdout,
      stderr,
      signal: new AbortController().signal,
      reportServer: () => {},
      setExitCode: (exitCode) => {
        code = exitCode;
      },
    },
    (text) => void stderr.write(text),
  );
  try {
    await program.parseAsync(["node", "mctl", ...args]);
  } catch (error) {
    const report = reportFailure(error, undefined);
    stderr.write(report.text);
    code = report.exitCode;
  }
  const text = (stream: NodeJS.WriteStream) =>
    stripVTControlCharacters(String((stream as unknown as PassThrough).read() ?? ""));
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
