/**
 * A tour of the main job, on the real thing: it starts Mission Control with its engine and agents in a temporary folder, brakes
 * agents that pay refunds, and proves from those agents' own ledgers what the brake promises. Every claim is checked before it is
 * printed; the exit code is 0 only if all of them held. `--engines all`: one brake over runs of three kinds at once.
 */
import { parseArgs } from "node:util";
import { everyEngine } from "./demo/every-engine.ts";
import { oneAgent } from "./demo/one-agent.ts";
import { clear } from "./demo/stage.ts";

try {
  const { engines } = parseArgs({ options: { engines: { type: "string", default: "restate" } } }).values;
  if (engines !== "restate" && engines !== "all") throw new Error(`--engines is "restate" or "all", not "${engines}"`);
  await (engines === "all" ? everyEngine() : oneAgent());
  console.log("\nEvery claim above was checked. That was Mission Control.");
} catch (error) {
  console.error(`\n✗ ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await clear();
}
