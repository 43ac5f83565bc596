import { readFile } from "node:fs/promises";
// In a project of your own: import { createGate } from "mission-control/gate";
import { createGate, type Gate } from "../../src/gate/index.ts";

/** The gate that Mission Control's brakes hold at, where there is one to attach to. */
export function gateOf(env: NodeJS.ProcessEnv): Gate | undefined {
  const { MC_GATE_URL: url, MC_GATE_TOKEN_FILE: tokenFile } = env;
  if (url === undefined || tokenFile === undefined) return undefined;
  const token = async () => (await readFile(tokenFile, "utf8")).trim();
  return createGate({ url, token, name: `sample-agents/${process.pid}`, log: (line) => console.log(line) });
}
