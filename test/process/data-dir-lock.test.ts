import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockDataDir } from "../../src/process/data-dir-lock.ts";
import { StartupError } from "../../src/process/startup-error.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mc-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a second lock on the same directory names the directory and what to do", () => {
  const lock = lockDataDir(join(folder, "data"));
  expect(() => lockDataDir(join(folder, "data"))).toThrow(StartupError);
  expect(() => lockDataDir(join(folder, "data"))).toThrow(/data directory .*\/data\. Stop that one, or .*--data-dir/);
  lock.release();
  lock.release();
  lockDataDir(join(folder, "data")).release();
});

test("the system releases the lock of a process that is killed", async () => {
  const module = join(import.meta.dirname, "../../src/process/data-dir-lock.ts");
  const script = `const { lockDataDir } = await import(${JSON.stringify(module)});
    globalThis.lock = lockDataDir(${JSON.stringify(folder)}); console.log("locked"); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  expect(() => lockDataDir(folder)).toThrow(StartupError);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  lockDataDir(folder).release();
});

test("a data directory that cannot be made is an error that says so", () => {
  writeFileSync(join(folder, "file"), "");
  expect(() => lockDataDir(join(folder, "file"))).toThrow(/cannot be used: .*--data-dir/);
  expect(existsSync(join(folder, "file", "lock"))).toBe(false);
});
