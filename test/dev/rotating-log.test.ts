import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openRotatingLog } from "../../src/dev/rotating-log.ts";

test("a log never takes more than two files of its bound, and the newest line is always there", () => {
  const folder = mkdtempSync(join(tmpdir(), "mc-log-"));
  const path = join(folder, "logs", "x.log");
  for (const run of [1, 2]) {
    const log = openRotatingLog(path, 1_000);
    for (let i = 0; i < 100; i++) log.write(`run ${run} line ${i}`);
    log.close();
    log.write("after close");
  }
  expect(readdirSync(join(folder, "logs")).sort()).toEqual(["x.log", "x.log.1"]);
  for (const file of [path, `${path}.1`]) expect(statSync(file).size).toBeLessThanOrEqual(1_000);
  expect(readFileSync(path, "utf8")).toMatch(/run 2 line 99\n$/);
  rmSync(folder, { recursive: true });
});
