import { join } from "node:path";
import { parseArgs } from "node:util";
import { readRules } from "./rules.ts";
import { startKos } from "./server.ts";

/** `node examples/kos/main.ts [--port 8040] [--rules rules.json]`: serves until Ctrl-C. */
const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8040" },
    rules: { type: "string", default: join(import.meta.dirname, "rules.json") },
  },
});
const rules = readRules(values.rules);
const kos = await startKos({ port: Number(values.port), rules });
console.log(`K-OS serves kos.policy.v1.ContextualPolicy on ${kos.url}, ${rules.length} rules`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void kos.close());
