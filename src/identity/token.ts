import { MissionControlError } from "../errors.ts";

const maxTokenBytes = 8 * 1024;
const maxKidLength = 256;
/** Headers that would let a token bring its own key, or say where to fetch one. */
const keyHeaders = ["jku", "jwk", "x5u", "x5c"];

/** Throws TOKEN_MALFORMED for what is longer than a token may be: to be asked before anything else is done with it. */
export function checkSize(token: string): void {
  if (token.length > maxTokenBytes) throw malformed(`it is longer than ${maxTokenBytes} bytes`);
}

/** The parts of a token before its signature was looked at: nothing of it may be believed yet. */
export interface UnverifiedToken {
  readonly header: { readonly alg: string; readonly kid: string; readonly typ?: unknown };
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * Takes a token apart, as far as it is needed to know whose keys to try. Throws MissionControlError TOKEN_MALFORMED for
 * what is not a JWS in its one compact spelling, TOKEN_INVALID for what no token may ask of us. The messages never repeat
 * what the token says.
 */
export function parseToken(token: string): UnverifiedToken {
  checkSize(token);
  const parts = token.split(".");
  if (parts.length === 5) throw invalid("it is encrypted (JWE); send a signed token (JWS)");
  const [header, claims, signature] = parts.map(decode);
  if (parts.length !== 3 || header === undefined || claims === undefined || signature === undefined) {
    throw malformed("it is not three base64url parts joined by dots");
  }
  if (signature.length === 0) throw invalid("it is not signed");
  const parsed = object(header, "header");
  checkHeader(parsed);
  return { header: parsed as unknown as UnverifiedToken["header"], claims: object(claims, "claims set") };
}

function checkHeader(header: Record<string, unknown>): void {
  if (typeof header.alg !== "string") throw malformed("its header names no algorithm (alg)");
  if (typeof header.kid !== "string" || header.kid === "" || header.kid.length > maxKidLength) {
    throw invalid("its header has to name its key (kid)");
  }
  const forbidden = keyHeaders.find((name) => Object.hasOwn(header, name));
  if (forbidden !== undefined) throw invalid(`its header brings a key of its own (${forbidden})`);
  if (Object.hasOwn(header, "crit")) throw invalid("its header demands extensions (crit) that are not known here");
}

/** Undefined where the part is not base64url, or spells the same bytes in another than the one canonical way. */
function decode(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, "base64url");
  return bytes.toString("base64url") === part ? bytes : undefined;
}

function object(bytes: Buffer, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below, without the parser's message: it would repeat what the token says.
  }
  throw malformed(`its ${what} is not a JSON object`);
}

function malformed(what: string): MissionControlError {
  return new MissionControlError(
    "TOKEN_MALFORMED",
    `the bearer token is not a JWT: ${what}; send "Authorization: Bearer <JWT>"`,
  );
}

function invalid(what: string): MissionControlError {
  return new MissionControlError("TOKEN_INVALID", `the token is not accepted: ${what}`);
}
