import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const main = join(import.meta.dirname, "../bench/main.ts");
const bench = (...args: string[]) => promisify(execFile)(process.execPath, [main, ...args], { timeout: 110_000 });

test.each([
  ["fleet-hold", "hold: brake / direct"],
  ["pause-one", "PauseWorkflow / PATCH"],
  ["ledger", "ledger / raw SQLite"],
  ["verify", "verified by Python, entries"],
  ["chain", "GetWorkflow: whole / without"],
  ["gate", "hook, 50 at a time: gate / bare"],
])("%s ends with figures, its ratio among them", { timeout: 120_000 }, async (name, ratio) => {
  const { stdout } = await bench(name, "--workflows", "50", "--repeat", "1", "--output", "json");
  const { benches } = JSON.parse(stdout);
  expect(benches).toHaveLength(1);
  const figures: { name: string; value: number }[] = benches[0].figures;
  expect(figures.map((figure) => figure.name)).toContain(ratio);
  expect(figures.filter(({ value }) => !(value > 0))).toEqual([]);
});

test("a bench that there is not, or a size that is none, is refused by name", async () => {
  await expect(bench("fleet-holt", "--workflows", "0")).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/"fleet-holt".*fleet-hold.*--workflows .*"0"/s),
  });
});
