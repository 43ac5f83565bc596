import { createLocalJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { MissionControlError } from "../errors.ts";
import { type IssuerConfig, loadKeys, supportedAlgorithms } from "./issuer.ts";
import type { Principal } from "./principal.ts";
import { parseToken } from "./token.ts";

const clockToleranceS = 30;
const maxNameLength = 256;
const maxRoles = 64;
/** The year 9999: what is beyond is no date, and Infinity (1e999 in JSON) is among it. */
const maxNumericDate = 253_402_300_799;

/** Verifies a token. Rejects with MissionControlError TOKEN_MALFORMED, TOKEN_INVALID or TOKEN_EXPIRED. */
export type Verify = (token: string) => Promise<Principal>;

interface Issuer {
  readonly config: IssuerConfig;
  readonly keys: JWTVerifyGetKey;
}

/**
 * A verifier of signed JWTs of the issuers. Each issuer's keys speak for that issuer only.
 *
 * @param options.roles the roles that Mission Control knows; others in a token are dropped.
 * @throws Error at once where the configuration or a key is unfit, with the issuer's name and what is wrong.
 */
export async function createVerifier(options: {
  readonly issuers: readonly IssuerConfig[];
  readonly roles: readonly string[];
}): Promise<Verify> {
  const issuers = new Map<string, Issuer>();
  for (const config of options.issuers) {
    if (config.issuer === "" || config.audience === "") throw new Error("an issuer needs its name and an audience");
    if (issuers.has(config.issuer)) throw new Error(`issuer ${config.issuer} is configured twice`);
    issuers.set(config.issuer, { config, keys: createLocalJWKSet(await loadKeys(config)) });
  }
  const known = new Set(options.roles);

  return async (token) => {
    const { header, claims } = parseToken(token);
    const issuer = typeof claims.iss === "string" ? issuers.get(claims.iss) : undefined;
    if (issuer === undefined) throw invalid("its issuer (iss) is not one that is accepted here");
    const { config } = issuer;
    checkType(header.typ, config.plainJwt === true);
    const algorithms = config.algorithms ?? supportedAlgorithms;
    if (!algorithms.includes(header.alg)) {
      throw invalid(`its algorithm (alg) is not accepted: sign with one of ${algorithms.join(", ")}`);
    }
    try {
      const { payload } = await jwtVerify(token, issuer.keys, {
        algorithms: [...algorithms],
        issuer: config.issuer,
        audience: config.audience,
        clockTolerance: clockToleranceS,
        requiredClaims: ["exp", "iat", "sub", "jti"],
      });
      return principal(payload, config, known);
    } catch (error) {
      throw refusal(error, config);
    }
  };
}

function checkType(typ: unknown, plainJwt: boolean): void {
  const name = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : typ;
  if (name === "at+jwt" || (plainJwt && (name === undefined || name === "jwt"))) return;
  throw invalid(`its type (typ) has to be at+jwt${plainJwt ? " or JWT" : ""}: send an access token, not an ID token`);
}

function principal(payload: JWTPayload, config: IssuerConfig, known: ReadonlySet<string>): Principal {
  const exp = numericDate(payload, "exp");
  if (numericDate(payload, "iat") > Date.now() / 1000 + clockToleranceS) {
    throw invalid("it was issued in the future (iat): set the clocks right");
  }
  return {
    issuer: config.issuer,
    subject: name(payload, "sub"),
    roles: roles(payload[config.rolesClaim ?? "roles"], config, known),
    tokenId: name(payload, "jti"),
    expireTime: exp * 1000,
    authenticationMethod: "jwt",
  };
}

function numericDate(payload: JWTPayload, claim: "exp" | "iat"): number {
  const value = payload[claim];
  if (typeof value === "number" && value >= 0 && value <= maxNumericDate) return value;
  throw invalid(`its claim ${claim} is not a date in seconds`);
}

/** Names go into logs, tables and terminals: invisible and control characters have no place in one. */
function name(payload: JWTPayload, claim: "sub" | "jti"): string {
  const value = payload[claim];
  if (typeof value === "string" && value.length <= maxNameLength && /\S/.test(value) && !/\p{C}/u.test(value))
    return value;
  throw invalid(`its claim ${claim} has to be a printable text of 1 to ${maxNameLength} characters`);
}

/** A token without roles is that of somebody who may do nothing; what is there, but is no list of texts, is unclear. */
function roles(claim: unknown, config: IssuerConfig, known: ReadonlySet<string>): string[] {
  if (claim === undefined) return [];
  if (!Array.isArray(claim) || claim.length > maxRoles || !claim.every((role) => typeof role === "string")) {
    throw invalid(`its claim ${config.rolesClaim ?? "roles"} has to be an array of at most ${maxRoles} texts`);
  }
  const names = config.roleNames;
  const ours = claim.flatMap((role) => {
    if (names === undefined) return [role];
    const name = Object.hasOwn(names, role) ? names[role] : undefined;
    return name === undefined ? [] : [name];
  });
  return [...new Set(ours)].filter((role) => known.has(role));
}

function refusal(error: unknown, config: IssuerConfig): unknown {
  if (error instanceof MissionControlError) return error;
  if (error instanceof errors.JWTExpired) {
    return new MissionControlError("TOKEN_EXPIRED", "the token has expired: get a new one and call again");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud")
      return invalid(`it is not meant for this server: its audience (aud) has to be ${config.audience}`);
    if (error.claim === "nbf") return invalid("it is not valid yet (nbf)");
    return invalid(`its claim ${error.claim} is missing or wrong`);
  }
  if (error instanceof errors.JWKSNoMatchingKey) return invalid("the issuer has no such key (kid) for this algorithm");
  if (error instanceof errors.JOSEError) return invalid("its signature does not verify with the issuer's key");
  return error;
}

function invalid(what: string): MissionControlError {
  return new MissionControlError("TOKEN_INVALID", `the token is not accepted: ${what}`);
}
