import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { onTestFinished } from "vitest";

const bin = resolve(import.meta.dirname, "../../bin/mctl.js");

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** Resolves when standard output matches. */
  sees(pattern: RegExp): Promise<void>;
  readonly finished: Promise<Finished>;
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What standard input is; absent: nothing. */
  readonly input?: string;
}

/** An empty folder for the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mctl-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts the real bin/mctl.js, by default in an empty folder that is also its home, with a UTF-8 environment. */
export function start(args: readonly string[], { env = {}, cwd = temporaryFolder(), input }: Options = {}): Running {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, LANG: "C.UTF-8", ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(input);
  onTestFinished(() => void child.kill("SIGKILL"));
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const finished = once(child, "close").then(([code]) => ({ code, stdout, stderr }));
  return {
    child,
    finished,
    sees: async (pattern) => {
      while (!pattern.test(stdout)) {
        const ended = await Promise.race([once(child.stdout, "data").then(() => false), finished.then(() => true)]);
        if (ended && !pattern.test(stdout))
          throw new Error(`never saw ${pattern}; stdout: ${stdout} stderr: ${stderr}`);
      }
    },
  };
}

/** Runs the real bin/mctl.js to its end. */
export function mctl(args: readonly string[], options?: Options): Promise<Finished> {
  return start(args, options).finished;
}
