import { readFile } from "node:fs/promises";
import type { RemoteConfig } from "../remote.ts";

/** A remote decision point as a configuration has it: with files where it needs what is in them. */
export interface RemoteFiles extends Omit<RemoteConfig, "ca" | "cert" | "key"> {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** Reads what the remotes need. Rejects with an Error that names the remote and the file that cannot be read. */
export function readRemotes(remotes: readonly RemoteFiles[]): Promise<RemoteConfig[]> {
  return Promise.all(
    remotes.map(async ({ caFile, certFile, keyFile, ...remote }) => {
      const read = (file: string | undefined) => file && pem(file, remote.name);
      const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map(read));
      // Read anew for each request; that it is there is to be known now.
      if (remote.tokenFile !== undefined) await contentOf(remote.tokenFile, remote.name);
      return { ...remote, ca, cert, key };
    }),
  );
}

async function pem(file: string, name: string): Promise<string> {
  const content = await contentOf(file, name);
  if (!content.includes("-----BEGIN ")) throw new Error(`policy remote ${name}: ${file} is not PEM`);
  return content;
}

async function contentOf(file: string, name: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(
      `policy remote ${name}: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
