import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { devIssuer, devKeyPath, isDevKeyId } from "../identity/dev-issuer.ts";
import type { IssuerConfig } from "../identity/issuer.ts";
import type { ConfigDocument } from "./document.ts";

/** What a configuration lacks, or has too much of, to be served in production; each with what to do. */
export function productionFaults(file: ConfigDocument): string[] {
  const faults: string[] = [];
  if (file.tls === undefined && file.plaintext_because === undefined) {
    faults.push(
      "tls is missing: name cert and key, or say in plaintext_because why tokens may travel unencrypted (a sidecar that " +
        "does TLS, say)",
    );
  }
  if (file.tls !== undefined && file.plaintext_because !== undefined) {
    faults.push("tls and plaintext_because are both there: keep one");
  }
  if (file.data_dir === undefined)
    faults.push("data_dir is missing: the folder where the ledger and the brakes are kept");
  else if (existsSync(join(file.data_dir, devKeyPath[0]))) {
    faults.push(
      `data_dir: ${file.data_dir} belongs to dev mode (${devKeyPath[0]}/ is in it): name another folder, so that nothing of it ` +
        "is taken over",
    );
  }
  if ((file.engines ?? []).length === 0)
    faults.push("engines is missing: name at least one, there is nothing to brake");
  for (const [index, { engine }] of (file.drill?.canaries ?? []).entries()) {
    if (file.engines?.some(({ name }) => name === engine)) continue;
    faults.push(`drill.canaries[${index}].engine is the name of no engine: use one of those in engines`);
  }
  const issuers = file.identity?.issuers ?? [];
  if (issuers.length === 0) faults.push("identity.issuers is missing: name at least one, else nobody could call");
  for (const [index, issuer] of issuers.entries()) {
    const fault = devKeyFault(issuer);
    if (fault !== undefined) faults.push(`identity.issuers[${index}] ${fault}`);
  }
  return faults;
}

/** Dev keys lie on people's disks, and whoever has one can be anybody. */
function devKeyFault({ issuer, jwks }: IssuerConfig): string | undefined {
  if (issuer === devIssuer) return `is dev mode's own issuer (${devIssuer}): name one that production trusts`;
  if ("url" in jwks || "discovery" in jwks) return undefined;
  const keys = "file" in jwks ? keysIn(jwks.file as string) : jwks.keys;
  if (keys.some(({ kid }) => isDevKeyId(kid))) return "has a key of dev mode's issuer: name one that production trusts";
  if ("file" in jwks && existsSync(join(dirname(jwks.file as string), devKeyPath[1]))) {
    return `has its keys in dev mode's folder ${dirname(jwks.file as string)}: name the keys of an issuer that production trusts`;
  }
  return undefined;
}

/** What cannot be read is told when the keys are loaded. */
function keysIn(file: string): readonly { readonly kid?: unknown }[] {
  try {
    const { keys } = JSON.parse(readFileSync(file, "utf8")) as { keys?: unknown };
    return Array.isArray(keys) ? keys : [];
  } catch {
    return [];
  }
}
