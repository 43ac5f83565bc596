import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GateTokens } from "../identity/gate-tokens.ts";

const name = "sample-agents";
const by = { subject: "dev mode", reason: "dev mode has started: its sample agents attach anew", entryId: "" };

/**
 * Makes a token for the gate of the sample agents, which takes the place of the last start's, and writes it to
 * `<dataDir>/gate.token`, for this user only. Answers the path.
 */
export async function writeGateToken(tokens: GateTokens, engine: string, dataDir: string): Promise<string> {
  const path = join(dataDir, "gate.token");
  for (const token of await tokens.list(false)) if (token.name === name) await tokens.revoke(token.gateTokenId, by);
  const { secret } = await tokens.create({ name, engine }, by);
  // Under another name first: the mode is that of a new file, and who reads it meanwhile finds a whole one.
  await writeFile(`${path}.new`, `${secret}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return path;
}
