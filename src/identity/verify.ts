import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { errors, type JWTPayload, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { boundCertificate, checkBinding } from "./binding.ts";
import { clockToleranceS, principalFrom } from "./claims.ts";
import { type Clock, systemClock } from "./clock.ts";
import { checkIssuer, type IssuerConfig, supportedAlgorithms } from "./issuer.ts";
import { type KeySet, providerKeySet, strictKeySet } from "./key-set.ts";
import { IssuerKeys, type KeyState } from "./keys.ts";
import type { Principal } from "./principal.ts";
import { discoverKeySet, fetchKeySet, type Reach } from "./provider.ts";
import type { Revocations } from "./revocations.ts";
import { checkSize, parseToken } from "./token.ts";

/** Verified tokens that are remembered; the least recently used goes first. */
const maxRemembered = 10_000;
/** How often it is looked whether keys have to be asked for, ms. */
const lookEveryMs = 10_000;

/** What a call proves beside its token. */
export interface Proof {
  /** The SHA-256 of the client certificate's DER, base64url; undefined: there is none. */
  readonly certificate?: string | undefined;
}

/**
 * Who calls with this token, as of now. Rejects with MissionControlError TOKEN_MALFORMED, TOKEN_INVALID, TOKEN_EXPIRED,
 * TOKEN_REVOKED or ISSUER_UNAVAILABLE.
 */
export type Verify = (token: string, proof?: Proof) => Promise<Principal>;

/** Verifies tokens, and keeps the keys of their issuers up to date. */
export interface Verifier {
  readonly verify: Verify;
  /** How the keys of each issuer stand. */
  keys(): { readonly issuer: string; readonly state: KeyState }[];
  /** Calls back whenever a token that was good may not be any more; returns what calls that off. */
  onDoubt(listener: () => void): () => void;
  close(): void;
}

export interface VerifierOptions {
  readonly issuers: readonly IssuerConfig[];
  /** The roles that Mission Control knows; others in a token are dropped. */
  readonly roles: readonly string[];
  readonly log: Logger;
  /** Who is kept out by a revocation; unset: nobody is. */
  readonly revocations?: Pick<Revocations, "check" | "onChange"> | undefined;
  /** Also fetch keys over http from this machine: for development and tests. */
  readonly insecureLoopback?: boolean | undefined;
  readonly clock?: Clock | undefined;
}

interface Issuer {
  readonly config: IssuerConfig;
  readonly keys: IssuerKeys;
}

/** A token that was verified once: what can change about it since is looked at each time. */
interface Remembered {
  readonly principal: Principal;
  readonly issuer: Issuer;
  readonly kid: string;
  /** The key that verified it, as IssuerKeys tells it. */
  readonly print: string;
  /** Not good before this moment, in ms since the epoch. */
  readonly notBefore: number;
  readonly certificate: string | undefined;
}

/**
 * A verifier of signed JWTs of the issuers. Each issuer's keys speak for that issuer only. Where a provider does not answer at
 * the start, its tokens are refused until it does, and the others' are not.
 *
 * @throws Error at once where the configuration, or a key that is configured, is unfit, with the issuer's name and what is wrong.
 */
export async function createVerifier(options: VerifierOptions): Promise<Verifier> {
  const { log, revocations, insecureLoopback = false, clock = systemClock } = options;
  const known = new Set(options.roles);
  const doubters = new Set<() => void>();
  const doubt = () => {
    for (const listener of doubters) listener();
  };
  const issuers = new Map<string, Issuer>();
  const stopListening = revocations?.onChange(doubt);
  const close = () => {
    stopListening?.();
    clearInterval(looking);
    for (const { keys } of issuers.values()) keys.close();
  };
  const looking = setInterval(() => {
    for (const { keys } of issuers.values()) keys.refreshIfDue();
  }, lookEveryMs).unref();
  try {
    checkConfigs(options.issuers, insecureLoopback);
    for (const config of options.issuers) {
      const load = (signal: AbortSignal) => loadKeys(config, { caFile: config.caFile, insecureLoopback, signal }, log);
      const keys = new IssuerKeys({ issuer: config.issuer, load, clock, log, changed: doubt });
      issuers.set(config.issuer, { config, keys });
    }
    await Promise.all(issuers.values().map(openKeys));
  } catch (error) {
    close();
    throw error;
  }

  const remembered = new LRUCache<string, Remembered>({ max: maxRemembered });

  /** What is remembered, as long as its key is still the issuer's and its time is not over. */
  const recall = (digest: string): Remembered | undefined => {
    const found = remembered.get(digest);
    if (found === undefined) return undefined;
    found.issuer.keys.refreshIfDue();
    const now = clock.date();
    const inTime = now >= found.notBefore - toleranceMs && now < found.principal.expireTime + toleranceMs;
    if (inTime && found.issuer.keys.print(found.kid) === found.print) return found;
    remembered.delete(digest);
    return undefined;
  };

  const check = async (token: string): Promise<Remembered> => {
    const { header, claims } = parseToken(token);
    const issuer = typeof claims.iss === "string" ? issuers.get(claims.iss) : undefined;
    if (issuer === undefined) throw invalid("its issuer (iss) is not one that is accepted here");
    const { config } = issuer;
    checkType(header.typ, config.plainJwt === true);
    const algorithms = config.algorithms ?? supportedAlgorithms;
    if (!algorithms.includes(header.alg)) {
      throw invalid(`its algorithm (alg) is not accepted: sign with one of ${algorithms.join(", ")}`);
    }
    const set = await issuer.keys.for(header.kid);
    const payload = await verifySignature(token, set, config, algorithms, clock);
    const certificate = boundCertificate(payload);
    return {
      principal: {
        ...principalFrom(payload, config, known, clock.date()),
        authenticationMethod: certificate === undefined ? "jwt" : "jwt+mtls",
      },
      issuer,
      kid: header.kid,
      print: set.prints.get(header.kid) ?? "",
      notBefore: (payload.nbf ?? 0) * 1000,
      certificate,
    };
  };

  return {
    async verify(token, { certificate } = {}) {
      checkSize(token);
      // By its digest, so that no token that is good lies about in memory.
      const digest = createHash("sha256").update(token).digest("base64");
      let found = recall(digest);
      if (found === undefined) {
        found = await check(token);
        remembered.set(digest, found);
      }
      checkBinding(found.certificate, certificate);
      try {
        revocations?.check(found.principal);
      } catch (error) {
        remembered.delete(digest);
        throw error;
      }
      return found.principal;
    },
    keys: () => [...issuers.values()].map(({ config, keys }) => ({ issuer: config.issuer, state: keys.state })),
    onDoubt(listener) {
      doubters.add(listener);
      return () => doubters.delete(listener);
    },
    close,
  };
}

/** Throws an Error where the configuration of an issuer, or a key that is in it or in its file, is unfit. No provider is asked. */
export async function checkIssuers(issuers: readonly IssuerConfig[], insecureLoopback = false): Promise<void> {
  checkConfigs(issuers, insecureLoopback);
  const reach = { insecureLoopback, signal: AbortSignal.abort() };
  for (const config of issuers) {
    if (isRemote(config)) continue;
    await loadKeys(config, reach).catch((error: unknown) => {
      throw faultOf(config, error);
    });
  }
}

function checkConfigs(issuers: readonly IssuerConfig[], insecureLoopback: boolean): void {
  const names = new Set<string>();
  for (const config of issuers) {
    checkIssuer(config, insecureLoopback);
    if (names.has(config.issuer)) throw new Error(`issuer ${config.issuer}: it is configured twice`);
    names.add(config.issuer);
  }
}

function faultOf({ issuer }: IssuerConfig, error: unknown): Error {
  return new Error(`issuer ${issuer}: ${error instanceof Error ? error.message : String(error)}`);
}

const toleranceMs = clockToleranceS * 1000;

/** A provider that does not answer is told by health; what is configured here has to be right. */
async function openKeys({ config, keys }: Issuer): Promise<void> {
  try {
    await keys.open();
  } catch (error) {
    if (isRemote(config)) return;
    throw faultOf(config, error);
  }
}

function isRemote({ jwks }: IssuerConfig): boolean {
  return "url" in jwks || "discovery" in jwks;
}

async function loadKeys({ issuer, jwks }: IssuerConfig, reach: Reach, log?: Logger): Promise<KeySet> {
  if ("file" in jwks) return strictKeySet(await readKeySet(jwks.file as string));
  if (!("url" in jwks) && !("discovery" in jwks)) return strictKeySet(jwks);
  const found = await ("url" in jwks ? fetchKeySet(jwks.url as string, reach) : discoverKeySet(issuer, reach));
  const { unfit, ...set } = await providerKeySet(found);
  if (unfit.length > 0) log?.debug({ issuer, unfit }, "some keys of the issuer are not for verifying tokens");
  return set;
}

async function readKeySet(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new Error(
      `cannot read its JSON Web Key Set ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`its JSON Web Key Set ${file} is not JSON`);
  }
}

function checkType(typ: unknown, plainJwt: boolean): void {
  const name = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : typ;
  if (name === "at+jwt" || (plainJwt && (name === undefined || name === "jwt"))) return;
  throw invalid(`its type (typ) has to be at+jwt${plainJwt ? " or JWT" : ""}: send an access token, not an ID token`);
}

async function verifySignature(
  token: string,
  set: KeySet,
  config: IssuerConfig,
  algorithms: readonly string[],
  clock: Clock,
): Promise<JWTPayload> {
  // The token's id may be another claim than jti, where the configuration says so: the mapping requires that one.
  const requiredClaims = ["exp", "iat", "sub", ...(config.claims?.tokenId === undefined ? ["jti"] : [])];
  try {
    const { payload } = await jwtVerify(token, set.find, {
      algorithms: [...algorithms],
      issuer: config.issuer,
      audience: [...config.audiences],
      clockTolerance: clockToleranceS,
      currentDate: new Date(clock.date()),
      requiredClaims,
    });
    return payload;
  } catch (error) {
    throw refusal(error, config);
  }
}

function refusal(error: unknown, config: IssuerConfig): unknown {
  if (error instanceof errors.JWTExpired) {
    return new MissionControlError("TOKEN_EXPIRED", "the token has expired: get a new one and call again");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud")
      return invalid(`it is not meant for this server: its audience (aud) has to be ${config.audiences.join(" or ")}`);
    if (error.claim === "nbf") return invalid("it is not valid yet (nbf)");
    return invalid(`its claim ${error.claim} is missing or wrong`);
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return invalid(
      "the issuer has no such key (kid) for this algorithm; if the key is new, call again in half a minute",
    );
  }
  if (error instanceof errors.JOSEError) return invalid("its signature does not verify with the issuer's key");
  return error;
}

function invalid(what: string): MissionControlError {
  return new MissionControlError("TOKEN_INVALID", `the token is not accepted: ${what}`);
}
