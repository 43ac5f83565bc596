import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSqlite } from "../../src/store/sqlite.ts";

const noCompiler = process.platform !== "linux" || spawnSync("cc", ["--version"]).status !== 0;
if (noCompiler)
  process.stdout.write("skipped: the loss of power is simulated by a C library, on Linux with a compiler (cc)\n");

/** More than fits into the write-ahead log, so that there are checkpoints too. */
const commits = 900;

describe.skipIf(noCompiler)("when the power fails", () => {
  let dir: string;
  let library: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "mc-power-"));
    library = join(dir, "power-loss.so");
    const source = join(import.meta.dirname, "power-loss.c");
    const { status, stderr } = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]);
    expect(status, String(stderr)).toBe(0);
  });
  afterAll(() => rm(dir, { recursive: true }));

  /** Commits, then loses everything that was not synced; the last acknowledged entry, and what the disk has. */
  async function loseOf(synchronous: string): Promise<{ acknowledged: number; head: number }> {
    const path = join(dir, synchronous, "ledger.db");
    const child = spawn(process.execPath, [join(import.meta.dirname, "commit-loop.ts"), path, synchronous], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, LD_PRELOAD: library },
    });
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Math.max(acknowledged, Number(line));
      if (acknowledged >= commits && !child.killed) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    const disk = join(dir, `${synchronous}-afterwards`);
    await mkdir(disk);
    for (const end of ["", "-wal"]) {
      if (existsSync(`${path}${end}.synced`)) await copyFile(`${path}${end}.synced`, join(disk, `ledger.db${end}`));
    }
    const store = openSqlite(join(disk, "ledger.db"));
    const head = Number(store.head);
    expect(await store.storedEntries(BigInt(Math.max(0, head - 100)), 1000)).toHaveLength(Math.min(head, 100));
    await store.close();
    return { acknowledged, head };
  }

  it("every acknowledged entry is on the disk", async () => {
    const { acknowledged, head } = await loseOf("FULL");
    expect(acknowledged).toBeGreaterThanOrEqual(commits);
    expect(head).toBeGreaterThanOrEqual(acknowledged);
  }, 120_000);

  it("with synchronous=NORMAL they would be lost: the test can tell", async () => {
    const { acknowledged, head } = await loseOf("NORMAL");
    expect(acknowledged).toBeGreaterThanOrEqual(commits);
    expect(head).toBeLessThan(acknowledged);
  }, 120_000);
});
