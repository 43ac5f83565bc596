import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Bench, Figure } from "./bench.ts";

/** The loop of the test that CI runs with 50 points, from the same seeds, with as many as one has time for. */
const loop = join("test", "brakes", "crash.test.ts");
const root = join(import.meta.dirname, "..");
/** Workflows of a run for each point at which the server is killed, and the fewest points. */
const perPoint = 50;
const fewest = 12;
/** What one point takes at the most, ms. */
const pointMs = 10_000;

/**
 * Kills the server at random points of engage, hold and release, and looks each time whether every acknowledged brake holds,
 * none is half released, nothing was done twice or unseen. It fails, with the seed that shows it again, where one does not;
 * there is nothing to repeat for a median.
 */
export const crash: Bench = {
  name: "crash",
  about: `kill -9 of the server at random points, one for each ${perPoint} workflows of a run; every promise is looked at after each`,

  async run({ workflows }, say) {
    const points = Math.max(fewest, Math.ceil(workflows / perPoint));
    const seed = Math.trunc(Math.random() * 1_000_000);
    say(`CRASH_POINTS=${points} CRASH_SEED=${seed} npx vitest run ${loop}`);
    const [kills, cutOff, afterEffect] = await killed(points, seed);
    return [
      counted("kills, all promises kept", kills),
      counted("calls cut off", cutOff),
      counted("cut off after their effect", afterEffect),
    ];
  },
};

function counted(name: string, value: number): Figure {
  return { name, value, unit: "count" };
}

/** Kills, calls cut off, and those of them that had taken effect, in both modes of the engine together. */
async function killed(points: number, seed: number): Promise<[number, number, number]> {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [vitest, "run", loop, "-t", "the server killed"], {
    cwd: root,
    env: { ...process.env, CRASH_POINTS: String(points), CRASH_SEED: String(seed) },
    maxBuffer: 64 << 20,
    timeout: 60_000 + 2 * points * pointMs,
  });
  const sums: [number, number, number] = [0, 0, 0];
  for (const found of stdout.matchAll(/(\d+) kills, (\d+) calls cut off, (\d+) of them after their effect/g)) {
    for (const at of [0, 1, 2] as const) sums[at] += Number(found[at + 1]);
  }
  if (sums[0] < points) throw new Error(`the loop has not told of ${points} kills:\n${stdout.slice(-2_000)}`);
  return sums;
}
