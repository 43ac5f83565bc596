import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { processIdentity, writePidFile } from "../../src/dev/pid-file.ts";
import { type Program, type Supervised, type SupervisedState, supervise } from "../../src/dev/supervisor.ts";
import { createLog } from "../../src/log.ts";

const log = createLog("silent");
let folder: string;
let running: Supervised | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mc-supervisor-"));
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** A program that is ready when it has printed "ready". */
function program(script: string, changes: Partial<Program> = {}): Program {
  const printed = new EventEmitter();
  return {
    name: "child",
    command: process.execPath,
    args: ["-e", script],
    env: {},
    cwd: folder,
    pidFile: join(folder, "child.pid"),
    ready: async (signal) => void (await once(printed, "ready", { signal })),
    readyTimeoutMs: 5_000,
    stopTimeoutMs: 300,
    onLine: (line) => void printed.emit(line),
    ...changes,
  };
}

const endless = `console.log("ready"); setInterval(() => {}, 1000);`;
const deaf = `process.on("SIGTERM", () => {}); ${endless}`;

const until = (child: Supervised, holds: (state: SupervisedState) => boolean): Promise<SupervisedState> =>
  new Promise((resolve) => {
    const off = child.onState((state) => {
      if (!holds(state)) return;
      off();
      resolve(state);
    });
  });

const alive = (pid: number | undefined) => pid !== undefined && processIdentity(pid) !== undefined;

test("a crash is shown, and followed by a restart", async () => {
  running = await supervise(program(endless), log);
  const { pid } = running.state();
  expect(running.state()).toMatchObject({ status: "ready", restarts: 0 });
  const down = until(running, (state) => state.status === "down");
  const back = until(running, (state) => state.status === "ready");
  process.kill(pid ?? 0, "SIGKILL");
  expect((await down).message).toMatch(/^The child was ended by SIGKILL; it is started again in \d+ ms\.$/);
  const state = await back;
  expect(state).toMatchObject({ status: "ready", restarts: 1, message: "" });
  expect(state.pid).not.toBe(pid);
});

test("a child that is deaf to SIGTERM is killed, and its pid file removed", async () => {
  running = await supervise(program(deaf), log);
  const { pid } = running.state();
  await running.stop();
  expect(alive(pid)).toBe(false);
  expect(running.state()).toMatchObject({ status: "stopped", pid: undefined });
  expect(existsSync(join(folder, "child.pid"))).toBe(false);
});

test("stop ends a supervisor that waits for its next try", async () => {
  writeFileSync(join(folder, "first"), "");
  const script = `const fs = require("node:fs");
    if (!fs.existsSync("first")) process.exit(3);
    fs.rmSync("first"); ${endless}`;
  running = await supervise(program(script), log);
  const failedTwice = until(running, (state) => state.status === "down" && state.restarts >= 1);
  process.kill(running.state().pid ?? 0, "SIGKILL");
  expect((await failedTwice).message).toMatch(/started again/);
  await running.stop();
  expect(running.state().status).toBe("stopped");
});

test("a child that never gets ready is ended, and its last words are in the error", async () => {
  const silent = `console.error("cannot find my hat"); setInterval(() => {}, 1000);`;
  await expect(supervise(program(silent, { readyTimeoutMs: 400 }), log)).rejects.toThrow(
    /The child was not ready after 0.4 s.*cannot find my hat/,
  );
  await expect(supervise(program("process.exit(7)"), log)).rejects.toThrow(/The child exited with code 7/);
  await expect(supervise(program("", { command: "/no/such/program" }), log)).rejects.toThrow(/could not be run/);
});

test("a child that an earlier process left over is ended first", async () => {
  // What a kill -9 of that process would have left: the child, and the pid file.
  const child = spawn(process.execPath, ["-e", deaf]);
  await once(child.stdout, "data");
  writePidFile(join(folder, "child.pid"), child.pid ?? 0);
  running = await supervise(program(endless), log);
  expect(alive(child.pid)).toBe(false);
  expect(JSON.parse(readFileSync(join(folder, "child.pid"), "utf8")).pid).toBe(running.state().pid);
});

test("a process that only has the number of the one left over is let live", async () => {
  writeFileSync(join(folder, "child.pid"), JSON.stringify({ pid: process.pid, identity: "another one" }));
  running = await supervise(program(endless), log);
  expect(running.state().status).toBe("ready");
});
