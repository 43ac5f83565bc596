import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../log.ts";
import { StartupError } from "../process/startup-error.ts";
import { eachLine } from "./lines.ts";
import { endLeftover, removePidFile, writePidFile } from "./pid-file.ts";

/** A program to keep running. */
export interface Program {
  /** For messages: "engine". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Where the process id is kept, so that the next start finds what a kill -9 of this process left over. */
  readonly pidFile: string;
  /** Resolves when it does its work. Called after every start; the signal ends it. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  readonly readyTimeoutMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly stopTimeoutMs: number;
  /** What it prints, line by line. */
  readonly onLine: (line: string) => void;
  /** What to do, where its last lines tell. */
  readonly explain?: (lastLines: readonly string[]) => string | undefined;
}

/** `down`: it crashed and is about to be started again. */
export type SupervisedStatus = "starting" | "ready" | "down" | "stopping" | "stopped";

/** How a supervised program is doing. */
export interface SupervisedState {
  readonly status: SupervisedStatus;
  /** For people; empty when there is nothing to say. */
  readonly message: string;
  /** When the status was entered. */
  readonly since: Date;
  /** Restarts after crashes since the supervisor began. */
  readonly restarts: number;
  readonly pid: number | undefined;
}

/** A program that is kept running. */
export interface Supervised {
  state(): SupervisedState;
  /** Calls back at every change; the answer ends that. */
  onState(callback: (state: SupervisedState) => void): () => void;
  /** SIGTERM, after the program's stopTimeoutMs SIGKILL; resolves when it is gone. Safe to repeat. */
  stop(): Promise<void>;
}

const firstDelayMs = 200;
const longestDelayMs = 10_000;
/** Running for so long is health: the next crash is restarted quickly again. */
const stableMs = 60_000;
const keptLines = 20;
const longestLine = 64 << 10;

/**
 * Starts a program and keeps it running: a crash is followed by a restart, after a delay that doubles up to 10 s, with
 * jitter. A process that a killed predecessor left over is ended first. The child is ended when this process exits.
 * @throws StartupError where it does not get ready the first time.
 */
export async function supervise(program: Program, log: Logger): Promise<Supervised> {
  const leftover = await endLeftover(program.pidFile, program.stopTimeoutMs);
  if (leftover !== undefined) log.warn({ pid: leftover }, `ended the ${program.name} that an earlier start left over`);
  const supervisor = new Supervisor(program, log);
  await supervisor.start();
  return supervisor;
}

class Supervisor implements Supervised {
  readonly #program: Program;
  readonly #log: Logger;
  readonly #listeners = new Set<(state: SupervisedState) => void>();
  readonly #stopping = new AbortController();
  #state: SupervisedState = { status: "starting", message: "", since: new Date(), restarts: 0, pid: undefined };
  #run: Run | undefined;
  #watch: Promise<void> = Promise.resolve();
  // Not stop(): an exit handler cannot wait.
  readonly #onExit = () => this.#run?.child.kill("SIGTERM");

  constructor(program: Program, log: Logger) {
    this.#program = program;
    this.#log = log;
  }

  async start(): Promise<void> {
    process.once("exit", this.#onExit);
    try {
      await this.#launch();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#watch = this.#keepRunning();
  }

  state(): SupervisedState {
    return this.#state;
  }

  onState(callback: (state: SupervisedState) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) this.#enter("stopping", "");
    this.#stopping.abort();
    await this.#run?.end(this.#program.stopTimeoutMs);
    await this.#watch;
    // The watch may have been launching another one when it was told to stop.
    await this.#run?.end(this.#program.stopTimeoutMs);
    removePidFile(this.#program.pidFile);
    process.off("exit", this.#onExit);
    if (this.#state.status !== "stopped") this.#enter("stopped", "");
  }

  /** Starts it once and waits until it is ready; where it does not get ready, it is ended. */
  async #launch(): Promise<void> {
    const { name, pidFile, ready, readyTimeoutMs, stopTimeoutMs, explain } = this.#program;
    const run = new Run(this.#program);
    this.#run = run;
    if (run.child.pid !== undefined) writePidFile(pidFile, run.child.pid);
    const timeout = AbortSignal.timeout(readyTimeoutMs);
    const over = new AbortController();
    try {
      await Promise.race([
        ready(AbortSignal.any([timeout, over.signal, this.#stopping.signal])),
        run.exited.then((how) => {
          throw new StartupError(`The ${name} ${how}. ${explain?.(run.lastLines) ?? lastWords(run.lastLines)}`);
        }),
      ]);
    } catch (error) {
      await run.end(stopTimeoutMs);
      if (!timeout.aborted) throw error;
      throw new StartupError(
        `The ${name} was not ready after ${readyTimeoutMs / 1000} s. ${explain?.(run.lastLines) ?? lastWords(run.lastLines)}`,
        { cause: error },
      );
    } finally {
      over.abort();
    }
    this.#enter("ready", "");
  }

  async #keepRunning(): Promise<void> {
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const how = await this.#run?.exited;
      if (this.#stopping.signal.aborted) return;
      if (this.#state.status === "ready" && Date.now() - this.#state.since.getTime() > stableMs) failures = 0;
      const wait = Math.min(longestDelayMs, firstDelayMs * 2 ** failures) * (0.5 + Math.random() / 2);
      failures = Math.min(failures + 1, 20);
      this.#enter("down", `The ${this.#program.name} ${how}; it is started again in ${Math.round(wait)} ms.`);
      this.#log.error({ restarts: this.#state.restarts }, this.#state.message);
      try {
        await delay(wait, undefined, { signal: this.#stopping.signal });
        this.#enter("starting", this.#state.message, this.#state.restarts + 1);
        await this.#launch();
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        this.#log.error({ err: error }, `the ${this.#program.name} could not be started again`);
      }
    }
  }

  #enter(status: SupervisedStatus, message: string, restarts = this.#state.restarts): void {
    const running = status === "ready" || status === "starting" || status === "stopping";
    this.#state = { status, message, since: new Date(), restarts, pid: running ? this.#run?.child.pid : undefined };
    for (const listener of this.#listeners) listener(this.#state);
  }
}

/** One life of the child process. */
class Run {
  readonly child: ChildProcess;
  /** How it ended, in words. Never rejects. */
  readonly exited: Promise<string>;
  readonly lastLines: string[] = [];

  constructor(program: Program) {
    this.child = spawn(program.command, program.args, {
      cwd: program.cwd,
      env: program.env,
      stdio: ["ignore", "pipe", "pipe"],
      // Its own process group: a Ctrl-C in the terminal is for us, and we stop our children in their order.
      detached: true,
    });
    this.exited = new Promise((resolve) => {
      this.child.once("error", (error) => resolve(`could not be run (${error.message})`));
      this.child.once("exit", (code, signal) =>
        resolve(signal === null ? `exited with code ${code}` : `was ended by ${signal}`),
      );
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream === null) continue;
      eachLine(stream, longestLine, (line) => {
        this.lastLines.push(line);
        if (this.lastLines.length > keptLines) this.lastLines.shift();
        program.onLine(line);
      });
    }
  }

  async end(graceMs: number): Promise<void> {
    this.child.kill("SIGTERM");
    const killer = setTimeout(() => this.child.kill("SIGKILL"), graceMs);
    await this.exited;
    clearTimeout(killer);
  }
}

function lastWords(lines: readonly string[]): string {
  return lines.length === 0 ? "It printed nothing." : `It printed last: ${lines.slice(-3).join(" | ").slice(0, 1000)}`;
}
