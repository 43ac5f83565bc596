import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { StartupError } from "../process/startup-error.ts";

/**
 * Who a process is, so that a reused process id is never taken for the process that had it before: its start time and its
 * program. Undefined where there is no such process (a zombie is none), or where it is not ours to look at.
 */
export function processIdentity(pid: number): string | undefined {
  try {
    if (process.platform === "linux") {
      // The program's name, in parentheses, may itself hold parentheses and spaces: fields are counted behind the last one.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const startTicks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
      const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
      // A program that was installed anew while it runs is still that program.
      const program = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
      return `${boot} ${startTicks} ${program}`;
    }
    const line = execFileSync("ps", ["-p", String(pid), "-o", "lstart=,stat=,command="], {
      encoding: "utf8",
      timeout: 5_000,
    });
    return /^\S+ \S+ +\d+ \S+ \d+ +Z/.test(line) ? undefined : line.replace(/ +/g, " ").trim();
  } catch {
    return undefined;
  }
}

/** Remembers a child process, for whoever comes after a kill -9 of this process. */
export function writePidFile(file: string, pid: number): void {
  writeFileSync(file, `${JSON.stringify({ pid, identity: processIdentity(pid) })}\n`, { mode: 0o600 });
}

/** Forgets it. */
export function removePidFile(file: string): void {
  rmSync(file, { force: true });
}

/**
 * Ends the process that a pid file remembers, if it still is that very process: SIGTERM, then SIGKILL after `graceMs`.
 * Resolves to its process id, or undefined where there was nothing to end. The caller holds the data directory's lock:
 * otherwise the process may belong to somebody who is alive.
 * @throws StartupError where it does not go away.
 */
export async function endLeftover(file: string, graceMs: number): Promise<number | undefined> {
  const leftover = readPidFile(file);
  if (leftover === undefined) return undefined;
  const alive = () => processIdentity(leftover.pid) === leftover.identity;
  if (!alive()) {
    removePidFile(file);
    return undefined;
  }
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    send(leftover.pid, signal);
    const deadline = Date.now() + graceMs;
    while (alive() && Date.now() < deadline) await delay(20);
    if (!alive()) {
      removePidFile(file);
      return leftover.pid;
    }
  }
  throw new StartupError(
    `Process ${leftover.pid}, left over from an earlier start (${file}), does not end. End it, then start again.`,
  );
}

function readPidFile(file: string): { pid: number; identity: string } | undefined {
  try {
    const { pid, identity } = JSON.parse(readFileSync(file, "utf8"));
    return Number.isSafeInteger(pid) && pid > 1 && typeof identity === "string" ? { pid, identity } : undefined;
  } catch {
    return undefined; // none, or one that a crash cut off: there is nothing to be learned from it
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it went away by itself
  }
}
