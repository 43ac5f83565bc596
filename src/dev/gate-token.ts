import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DevIssuer } from "../identity/dev-issuer.ts";

/** Longer than anybody keeps dev mode running; each start makes a new one. */
const expiresInS = 365 * 24 * 60 * 60;

/** Writes a token for the gate of the sample agents to `<dataDir>/gate.token`, for this user only, and answers the path. */
export async function writeGateToken(issuer: DevIssuer, dataDir: string): Promise<string> {
  const path = join(dataDir, "gate.token");
  const token = await issuer.signDevToken({ subject: "sample-agents", roles: ["gate"], expiresIn: expiresInS });
  // Under another name first: the mode is that of a new file, and who reads it meanwhile finds a whole one.
  await writeFile(`${path}.new`, `${token}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return path;
}
