import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";
import type { IssuerConfig } from "./issuer.ts";

/** The development issuer's `iss`. */
export const devIssuer = "mission-control-dev";
/** The `aud` of its tokens. */
export const devAudience = "mission-control";
/** Where it keeps its private key, below the data directory: a JWK with its kid. `mctl token` reads the same file. */
export const devKeyPath = ["dev-issuer", "private.jwk.json"] as const;

const algorithm = "ES256";
/** The gate of the sample agents has a token of a year. */
const maxLifetimeS = 400 * 24 * 60 * 60;
const keyIdPrefix = "mission-control-dev:";

/** True for the key ids that this issuer gives its keys: production refuses them, whatever issuer's they are said to be. */
export function isDevKeyId(kid: unknown): boolean {
  return typeof kid === "string" && kid.startsWith(keyIdPrefix);
}

/** Whom a development token is for, and how long it is good. */
export interface DevToken {
  readonly subject: string;
  readonly roles: readonly string[];
  /** In seconds. */
  readonly expiresIn: number;
}

/** The issuer of development mode: its keys are made on this machine, and whoever can read them can be anybody. */
export interface DevIssuer {
  /** What the verifier needs to accept its tokens. */
  readonly config: IssuerConfig;
  signDevToken(token: DevToken): Promise<string>;
}

/**
 * Opens the development issuer of a data directory; makes its key pair at the first start. Processes that start at the same
 * time end up with the same key. Throws an Error that says what to do where the key's file is unfit.
 */
export async function openDevIssuer(dataDir: string): Promise<DevIssuer> {
  const path = join(dataDir, ...devKeyPath);
  const jwk = (await readKey(path)) ?? (await makeKey(path));
  const { kty, crv, x, y, kid } = jwk;
  const key = await importJWK(jwk, algorithm);
  return {
    config: {
      issuer: devIssuer,
      audiences: [devAudience],
      algorithms: [algorithm],
      maxLifetimeS,
      jwks: { keys: [{ kty, crv, x, y, kid, alg: algorithm, use: "sig" } as JWK] },
    },
    signDevToken({ subject, roles, expiresIn }) {
      const now = Math.floor(Date.now() / 1000);
      return new SignJWT({ roles: [...roles] })
        .setProtectedHeader({ alg: algorithm, typ: "at+jwt", kid: kid as string })
        .setIssuer(devIssuer)
        .setAudience(devAudience)
        .setSubject(subject)
        .setIssuedAt(now)
        .setExpirationTime(now + expiresIn)
        .setJti(randomUUID())
        .sign(key);
    },
  };
}

async function readKey(path: string): Promise<JWK | undefined> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0)
      throw new Error(`${path} can be read by others: chmod 600 it, or delete it to get a new key`);
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const jwk = JSON.parse(text) as JWK;
    await importJWK(jwk, algorithm);
    if (typeof jwk.kid === "string" && typeof jwk.d === "string") return jwk;
  } catch {
    // Told below, without the cause: it might repeat the key.
  }
  throw new Error(`${path} is not an ${algorithm} private key with a kid: delete it to get a new one`);
}

/** Written whole under another name and then linked: whoever comes second finds the first one's key. */
async function makeKey(path: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = await exportJWK(privateKey);
  const named = { ...jwk, kid: `${keyIdPrefix}${await calculateJwkThumbprint(jwk)}`, alg: algorithm, use: "sig" };
  await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(named, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await unlink(draft);
  }
  const key = await readKey(path);
  if (key === undefined) throw new Error(`${path} was deleted while it was made: start again`);
  return key;
}
