import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GateTokens } from "../identity/gate-tokens.ts";

const by = { subject: "dev mode", reason: "dev mode has started: its gates ask anew", entryId: "" };

/** A token of dev mode's own: its name, the engine that it is for, and its file in the data directory. */
export interface DevGateToken {
  readonly name: string;
  readonly engine: string;
  readonly file: string;
}

/**
 * Makes a token, which takes the place of the last start's, and writes it to its file, for this user only. Answers the path.
 */
export async function writeGateToken(
  tokens: GateTokens,
  { name, engine, file }: DevGateToken,
  dataDir: string,
): Promise<string> {
  const path = join(dataDir, file);
  for (const token of await tokens.list(false)) if (token.name === name) await tokens.revoke(token.gateTokenId, by);
  const { secret } = await tokens.create({ name, engine }, by);
  // Under another name first: the mode is that of a new file, and who reads it meanwhile finds a whole one.
  await writeFile(`${path}.new`, `${secret}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return path;
}

/** The token of the sample agents' gate. */
export function sampleAgentsToken(engine: string): DevGateToken {
  return { name: "sample-agents", engine, file: "gate.token" };
}

/** The token for runtimes that ask at an engine of dev mode's own. */
export function runtimesToken(engine: string): DevGateToken {
  return { name: `dev-${engine}`, engine, file: `${engine}.token` };
}
