import type { JWTPayload } from "jose";
import { MissionControlError } from "../errors.ts";
import { type ClaimMapping, type ClaimPath, defaultMaxLifetimeS, type IssuerConfig } from "./issuer.ts";
import type { Principal } from "./principal.ts";

/** How far the clocks of issuers and of this server may differ, seconds. */
export const clockToleranceS = 30;
const maxNameLength = 256;
/** As many as fit into a token are taken: a person may be in hundreds of groups. Of the other lists few are enough. */
const maxRoles = 1024;
const maxMethods = 16;
/** The year 9999: what is beyond is no date, and Infinity (1e999 in JSON) is among it. */
const maxNumericDate = 253_402_300_799;

/**
 * Who a verified payload says that calls, by the issuer's claim mapping. What is there but not as it has to be is unclear, and
 * refused: throws TOKEN_INVALID.
 *
 * @param known the roles that Mission Control knows; others are dropped.
 * @param nowMs the time of day.
 */
export function principalFrom(
  payload: JWTPayload,
  config: IssuerConfig,
  known: ReadonlySet<string>,
  nowMs: number,
): Omit<Principal, "authenticationMethod"> {
  const { claims = {}, maxLifetimeS = defaultMaxLifetimeS } = config;
  const exp = numericDate(payload.exp, "exp");
  const iat = numericDate(payload.iat, "iat");
  if (iat > nowMs / 1000 + clockToleranceS) throw invalid("it was issued in the future (iat): set the clocks right");
  if (exp - iat > maxLifetimeS) {
    throw invalid(`it lives for longer than ${maxLifetimeS} s (exp - iat): have its issuer give shorter ones`);
  }
  name(payload.sub, "sub");
  refuseIdToken(payload);
  const authenticationTime =
    payload.auth_time === undefined ? undefined : numericDate(payload.auth_time, "auth_time") * 1000;
  return {
    issuer: config.issuer,
    subject: name(valueAt(payload, claims.subject ?? "sub"), told(claims.subject ?? "sub")),
    roles: roles(payload, claims, known),
    tokenId: name(valueAt(payload, claims.tokenId ?? "jti"), told(claims.tokenId ?? "jti")),
    issueTime: iat * 1000,
    expireTime: exp * 1000,
    ...optional("name", label(payload, claims.name ?? "name")),
    ...optional("tenant", claims.tenant && optionalName(payload, claims.tenant)),
    ...optional("machine", isMachine(payload, claims.kind)),
    ...optional("authenticationTime", authenticationTime),
    ...optional("authenticationMethods", methods(payload.amr)),
    ...optional("authenticationContext", optionalName(payload, "acr")),
  };
}

/** An ID token says to its client who has signed in; it is no key to anything. Its hashes of other tokens give it away. */
function refuseIdToken(payload: JWTPayload): void {
  const mark = ["at_hash", "c_hash"].find((claim) => Object.hasOwn(payload, claim));
  if (mark !== undefined) throw invalid(`it is an ID token (it has ${mark}): send an access token`);
}

function valueAt(payload: JWTPayload, path: ClaimPath): unknown {
  let value: unknown = payload;
  for (const step of typeof path === "string" ? [path] : path) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, step)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function told(path: ClaimPath): string {
  return typeof path === "string" ? path : path.join(" → ");
}

function numericDate(value: unknown, claim: string): number {
  if (typeof value === "number" && value >= 0 && value <= maxNumericDate) return value;
  throw invalid(`its claim ${claim} is not a date in seconds`);
}

/** Names go into logs, tables and terminals: invisible and control characters have no place in one. */
function name(value: unknown, claim: string): string {
  if (isName(value)) return value;
  throw invalid(`its claim ${claim} has to be a printable text of 1 to ${maxNameLength} characters`);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= maxNameLength && /\S/.test(value) && !/\p{C}/u.test(value);
}

function optionalName(payload: JWTPayload, path: ClaimPath): string | undefined {
  const value = valueAt(payload, path);
  return value === undefined ? undefined : name(value, told(path));
}

/** What people call them decides nothing: one that could not be shown is left out. */
function label(payload: JWTPayload, path: ClaimPath): string | undefined {
  const value = valueAt(payload, path);
  return isName(value) ? value : undefined;
}

/** A token without roles is that of somebody who may do nothing; what is there, but is no list of texts, is unclear. */
function roles(payload: JWTPayload, claims: ClaimMapping, known: ReadonlySet<string>): string[] {
  const path = claims.roles ?? "roles";
  const value = valueAt(payload, path);
  if (value === undefined) return [];
  if (!isTexts(value, maxRoles))
    throw invalid(`its claim ${told(path)} has to be an array of at most ${maxRoles} texts`);
  const { roleNames } = claims;
  const ours = value.flatMap((role) => {
    if (roleNames === undefined) return [role];
    const name = Object.hasOwn(roleNames, role) ? roleNames[role] : undefined;
    return name === undefined ? [] : [name];
  });
  return [...new Set(ours)].filter((role) => known.has(role));
}

function methods(value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (isTexts(value, maxMethods) && value.every(isName)) return value;
  throw invalid(`its claim amr has to be an array of at most ${maxMethods} texts`);
}

function isTexts(value: unknown, max: number): value is string[] {
  return Array.isArray(value) && value.length <= max && value.every((one) => typeof one === "string");
}

function isMachine(payload: JWTPayload, rule: ClaimMapping["kind"]): boolean | undefined {
  if (rule === undefined) return undefined;
  if (typeof rule === "string") return rule === "machine";
  const value = valueAt(payload, rule.claim);
  const among = (values: readonly string[]) => typeof value === "string" && values.includes(value);
  return "machine" in rule ? among(rule.machine) : !among(rule.person);
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
}

function invalid(what: string): MissionControlError {
  return new MissionControlError("TOKEN_INVALID", `the token is not accepted: ${what}`);
}
