import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openSqlite } from "../../src/store/sqlite.ts";
import { entry } from "./entry.ts";

/** A disk of 2 MiB, of its own. */
let disk: string;
const mounts = () => spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]).status === 0;
disk = mkdtempSync(join(tmpdir(), "mc-disk-"));
const noMount = !mounts();
if (noMount) process.stdout.write("skipped: a full disk is a small one that is mounted, which only root may\n");
else spawnSync("umount", [disk]);
rmSync(disk, { recursive: true });

beforeEach(() => {
  disk = mkdtempSync(join(tmpdir(), "mc-disk-"));
  if (!noMount) mounts();
});
afterEach(() => {
  spawnSync("umount", [disk]);
  rmSync(disk, { recursive: true });
});

test.skipIf(noMount)(
  "a database on a disk without a byte left can be read, and written once there is room again",
  async () => {
    const path = join(disk, "ledger.db");
    const before = openSqlite(path);
    await before.commit({ entries: [entry({ reason: "before" })] });
    await before.close();
    expect(statSync(`${path}-reserve`).size).toBe(128 * 1024);
    const filler = join(disk, "filler");
    const fill = () => {
      try {
        for (;;) appendFileSync(filler, "x".repeat(4096));
      } catch {
        // Full.
      }
    };
    fill();

    const store = openSqlite(path);
    fill();
    expect((await store.listEntries({ limit: 10 })).entries).toMatchObject([{ reason: "before" }]);
    const large = entry({ reason: "x".repeat(100_000) });
    await expect(store.commit({ entries: [large] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
    expect(existsSync(`${path}-reserve`)).toBe(false);
    rmSync(filler);
    await store.commit({ entries: [entry({ reason: "after" })] });
    await store.close();

    await openSqlite(path).close();
    expect(existsSync(`${path}-reserve`)).toBe(true);
  },
);
