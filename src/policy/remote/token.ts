import { readFile } from "node:fs/promises";
import { RemoteFault } from "./fault.ts";

/** The value of an Authorization header, from a file that may be replaced at any time; undefined without a file. */
export async function authorizationFrom(tokenFile: string | undefined): Promise<string | undefined> {
  if (tokenFile === undefined) return undefined;
  const text = await readFile(tokenFile, "utf8").catch((cause) => {
    throw new RemoteFault("unclear", "the token that it is to be shown cannot be read", { cause });
  });
  const token = text.trim();
  if (!/^[\x21-\x7e]{1,16384}$/.test(token)) {
    throw new RemoteFault("unclear", "the file with the token that it is to be shown holds none");
  }
  return `Bearer ${token}`;
}
