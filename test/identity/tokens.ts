import { generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import type { JSONWebKeySet, JWK } from "jose";

/** The issuer of these tests. */
export const issuer = "https://issuer.test";
export const audience = "mission-control";
export const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
export const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
/** A key pair that the issuer does not know. */
export const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
export const publicJwk = (key: KeyObject, more: object) => ({ ...key.export({ format: "jwk" }), ...more }) as JWK;
export const jwks: JSONWebKeySet = {
  keys: [publicJwk(ec.publicKey, { kid: "ec", alg: "ES256" }), publicJwk(rsa.publicKey, { kid: "rsa", alg: "RS256" })],
};

export const b64 = (value: unknown) =>
  (typeof value === "string" ? Buffer.from(value) : Buffer.from(JSON.stringify(value))).toString("base64url");
/** In seconds, as tokens count them. */
export const now = () => Math.floor(Date.now() / 1000);
export const goodHeader = { alg: "ES256", typ: "at+jwt", kid: "ec" };
export const goodClaims = () => ({
  iss: issuer,
  aud: audience,
  sub: "alice",
  iat: now(),
  exp: now() + 300,
  jti: randomUUID(),
  roles: ["sre", "root"],
});
export const es256 = (input: string, key: KeyObject = ec.privateKey) =>
  sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");

/** A token with parts replaced; undefined takes a member away. Signed with the good key unless said otherwise. */
export function token(header: object = {}, claims: object = {}, signWith: (input: string) => string = es256): string {
  const input = `${b64({ ...goodHeader, ...header })}.${b64({ ...goodClaims(), ...claims })}`;
  return `${input}.${signWith(input)}`;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * The other spellings of a token's ES256 signature: 64 bytes in 86 characters leave the last four bits of the last character
 * to whoever writes them, and lenient decoders read all of them as the same signature.
 */
export function otherSpellings(token: string): string[] {
  const last = alphabet.indexOf(token.at(-1) as string);
  const same = Array.from({ length: 16 }, (_, low) => (last & ~15) | low).filter((index) => index !== last);
  return same.map((index) => token.slice(0, -1) + alphabet[index]);
}
