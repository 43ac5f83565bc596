import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { importJWK, type JWK, SignJWT } from "jose";
import { findInDataDir } from "./data-dir.ts";
import { CliFailure, exitCodes } from "./failure.ts";

const keyFile = join("dev-issuer", "private.jwk.json");

/** The dev issuer's private key, where dev mode keeps it; undefined: there is none. */
export function findDevKey(cwd: string, dataDir: string | undefined): string | undefined {
  return findInDataDir(keyFile, cwd, dataDir);
}

/** Signs a token as the dev issuer does. Only a server in dev mode takes it. */
export async function mintDevToken(
  keyPath: string,
  claims: { readonly subject: string; readonly roles: readonly string[]; readonly expiresInMs: number },
): Promise<string> {
  const jwk = readKey(keyPath);
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ roles: [...claims.roles] })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: jwk.kid })
    .setIssuer("mission-control-dev")
    .setAudience("mission-control")
    .setSubject(claims.subject)
    .setIssuedAt(now)
    .setExpirationTime(now + Math.ceil(claims.expiresInMs / 1000))
    .setJti(randomUUID())
    .sign(await importJWK(jwk, "ES256"));
}

function readKey(path: string): JWK & { kid: string } {
  const fault = (what: string) =>
    new CliFailure(exitCodes.error, Code.FailedPrecondition, `the dev issuer's key ${path} ${what}`);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw fault(`cannot be read: ${(error as Error).message}`);
  }
  let jwk: JWK;
  try {
    jwk = JSON.parse(text) as JWK;
  } catch {
    // The parser's own message might repeat the key.
    throw fault("is not JSON");
  }
  const { kid } = jwk;
  if (jwk.kty !== "EC" || jwk.crv !== "P-256" || typeof jwk.d !== "string" || typeof kid !== "string") {
    throw fault("is not a private P-256 JWK with a kid; npm start makes a new one where there is none");
  }
  return { ...jwk, kid };
}
