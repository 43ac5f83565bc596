import { createHmac, sign } from "node:crypto";
import {
  b64,
  ec,
  es256,
  goodClaims,
  goodHeader,
  issuer,
  now,
  other,
  otherSpellings,
  publicJwk,
  token,
} from "./tokens.ts";

const signature = (text: string) => token().split(".").slice(0, 2).concat(text).join(".");
const hs256 = (secret: string | Buffer) => (input: string) =>
  createHmac("sha256", secret).update(input).digest("base64url");
const pem = ec.publicKey.export({ format: "pem", type: "spki" });
const otherJwk = publicJwk(other.publicKey, { kid: "ec" });

/** What has to be refused, whatever the door: by what is wrong with it, with the reason that the caller is told. */
export const attacks: readonly [name: string, reason: string, token: () => string][] = [
  ["nothing", "TOKEN_MALFORMED", () => ""],
  ["one word", "TOKEN_MALFORMED", () => "secret"],
  ["two parts", "TOKEN_MALFORMED", () => token().split(".").slice(0, 2).join(".")],
  ["four parts", "TOKEN_MALFORMED", () => `${token()}.AAAA`],
  ["an encrypted token", "TOKEN_INVALID", () => `${b64({ alg: "dir", enc: "A256GCM" })}..AAAA.AAAA.AAAA`],
  ["padding", "TOKEN_MALFORMED", () => `${token()}==`],
  ["white space in it", "TOKEN_MALFORMED", () => token().replace(".", " .")],
  ["the plain base64 alphabet", "TOKEN_MALFORMED", () => signature("++//")],
  ["another spelling of a good signature", "TOKEN_MALFORMED", () => otherSpellings(token())[0] as string],
  ["a header that is no JSON", "TOKEN_MALFORMED", () => `${b64("{")}.${b64(goodClaims())}.AAAA`],
  ["a header that is a list", "TOKEN_MALFORMED", () => `${b64([goodHeader])}.${b64(goodClaims())}.AAAA`],
  ["claims that are null", "TOKEN_MALFORMED", () => `${b64(goodHeader)}.${b64("null")}.AAAA`],
  [
    "bytes that are no UTF-8",
    "TOKEN_MALFORMED",
    () => `${b64(goodHeader)}.${Buffer.from([0x7b, 0xff]).toString("base64url")}.AAAA`,
  ],
  ["8 KiB and more", "TOKEN_MALFORMED", () => token({}, { pad: "x".repeat(8192) })],
  ["7 MB", "TOKEN_MALFORMED", () => token({}, { pad: "x".repeat(7_000_000) })],
  ["alg none without a signature", "TOKEN_INVALID", () => token({ alg: "none" }, {}, () => "")],
  ["alg none with one", "TOKEN_INVALID", () => token({ alg: "none" })],
  ["alg NonE", "TOKEN_INVALID", () => token({ alg: "NonE" })],
  ["no alg", "TOKEN_MALFORMED", () => token({ alg: undefined })],
  ["alg as a list", "TOKEN_MALFORMED", () => token({ alg: ["ES256"] })],
  ["HS256 with the public key as the secret", "TOKEN_INVALID", () => token({ alg: "HS256" }, {}, hs256(pem))],
  ["HS256 with an empty secret", "TOKEN_INVALID", () => token({ alg: "HS256" }, {}, hs256(""))],
  ["RS256 said of an EC key", "TOKEN_INVALID", () => token({ alg: "RS256" })],
  ["an algorithm that does not fit the key's own", "TOKEN_INVALID", () => token({ alg: "PS256", kid: "rsa" })],
  ["another's key", "TOKEN_INVALID", () => token({}, {}, (input) => es256(input, other.privateKey))],
  ["a signature of zeros (CVE-2022-21449)", "TOKEN_INVALID", () => signature(Buffer.alloc(64).toString("base64url"))],
  [
    "a signature in DER",
    "TOKEN_INVALID",
    () => token({}, {}, (i) => sign("sha256", Buffer.from(i), ec.privateKey).toString("base64url")),
  ],
  ["an empty signature", "TOKEN_INVALID", () => signature("")],
  ["a signature cut short", "TOKEN_INVALID", () => signature(Buffer.alloc(32, 1).toString("base64url"))],
  [
    "claims changed after signing",
    "TOKEN_INVALID",
    () => {
      const [header, , sig] = token().split(".");
      return `${header}.${b64({ ...goodClaims(), roles: ["sre_admin"] })}.${sig}`;
    },
  ],
  ["no kid", "TOKEN_INVALID", () => token({ kid: undefined })],
  ["a kid that is a path", "TOKEN_INVALID", () => token({ kid: "../../dev/null" })],
  ["a kid that is no text", "TOKEN_INVALID", () => token({ kid: { $ne: "" } })],
  ["a kid of another key", "TOKEN_INVALID", () => token({ kid: "rsa" })],
  ["its own key (jwk)", "TOKEN_INVALID", () => token({ jwk: otherJwk }, {}, (i) => es256(i, other.privateKey))],
  ["a key to fetch (jku)", "TOKEN_INVALID", () => token({ jku: "http://127.0.0.1:1/keys" })],
  ["a certificate to fetch (x5u)", "TOKEN_INVALID", () => token({ x5u: "http://127.0.0.1:1/cert" })],
  ["its own certificate (x5c)", "TOKEN_INVALID", () => token({ x5c: ["AAAA"] })],
  ["an unknown crit", "TOKEN_INVALID", () => token({ crit: ["mine"], mine: 1 })],
  ["an unencoded payload (crit b64)", "TOKEN_INVALID", () => token({ crit: ["b64"], b64: false })],
  ["an ID token's type", "TOKEN_INVALID", () => token({ typ: "JWT" })],
  ["no type", "TOKEN_INVALID", () => token({ typ: undefined })],
  ["another issuer", "TOKEN_INVALID", () => token({}, { iss: "https://evil.test" })],
  ["an issuer with a slash more", "TOKEN_INVALID", () => token({}, { iss: `${issuer}/` })],
  ["a list of issuers", "TOKEN_INVALID", () => token({}, { iss: [issuer] })],
  ["no issuer", "TOKEN_INVALID", () => token({}, { iss: undefined })],
  ["an issuer named after the prototype", "TOKEN_INVALID", () => token({}, { iss: "__proto__" })],
  ["another audience", "TOKEN_INVALID", () => token({}, { aud: "billing" })],
  ["an audience in other letters", "TOKEN_INVALID", () => token({}, { aud: "Mission-Control" })],
  ["no audience", "TOKEN_INVALID", () => token({}, { aud: undefined })],
  ["no exp", "TOKEN_INVALID", () => token({}, { exp: undefined })],
  ["exp as a text", "TOKEN_INVALID", () => token({}, { exp: "9999999999" })],
  [
    "an endless exp",
    "TOKEN_INVALID",
    () => {
      const claims = JSON.stringify(goodClaims()).replace(/"exp":\d+/, '"exp":1e999');
      const input = `${b64(goodHeader)}.${b64(claims)}`;
      return `${input}.${es256(input)}`;
    },
  ],
  ["an exp after the year 9999", "TOKEN_INVALID", () => token({}, { exp: 1e15 })],
  ["one that has expired", "TOKEN_EXPIRED", () => token({}, { exp: now() - 31 })],
  ["no iat", "TOKEN_INVALID", () => token({}, { iat: undefined })],
  ["an iat in the future", "TOKEN_INVALID", () => token({}, { iat: now() + 60 })],
  ["an nbf in the future", "TOKEN_INVALID", () => token({}, { nbf: now() + 60 })],
  ["no sub", "TOKEN_INVALID", () => token({}, { sub: undefined })],
  ["an empty sub", "TOKEN_INVALID", () => token({}, { sub: " " })],
  ["a sub that is a number", "TOKEN_INVALID", () => token({}, { sub: 0 })],
  ["a sub that paints the terminal", "TOKEN_INVALID", () => token({}, { sub: "alice\u001b[2J" })],
  ["a sub that turns the text around", "TOKEN_INVALID", () => token({}, { sub: "alice\u202e" })],
  ["a sub of 10 lines", "TOKEN_INVALID", () => token({}, { sub: "a\n".repeat(10) })],
  ["a sub without end", "TOKEN_INVALID", () => token({}, { sub: "a".repeat(257) })],
  ["no jti", "TOKEN_INVALID", () => token({}, { jti: undefined })],
  ["roles that are a text", "TOKEN_INVALID", () => token({}, { roles: "sre" })],
  ["roles that are objects", "TOKEN_INVALID", () => token({}, { roles: [{ name: "sre" }] })],
  ["a sub that is empty behind a good one", "TOKEN_INVALID", () => doubled('"sub":"alice"', '"sub":""')],
  ["the alg twice, none last", "TOKEN_INVALID", () => doubledHeader('"alg":"ES256"', '"alg":"none"')],
  ["a jti of control characters", "TOKEN_INVALID", () => token({}, { jti: "a\u0000b" })],
  ["a life of ten years", "TOKEN_INVALID", () => token({}, { exp: now() + 315_360_000 })],
  ["an ID token's hash (at_hash)", "TOKEN_INVALID", () => token({}, { at_hash: "77QmUPtjPfzWtF2AnpK9RQ" })],
  ["a DPoP key (cnf.jkt)", "TOKEN_INVALID", () => token({}, { cnf: { jkt: "A".repeat(43) } })],
  ["a certificate that was not shown (cnf)", "TOKEN_INVALID", () => token({}, { cnf: { "x5t#S256": "A".repeat(43) } })],
  ["a key of its own to confirm it (cnf.jwk)", "TOKEN_INVALID", () => token({}, { cnf: { jwk: otherJwk } })],
  ["an empty confirmation", "TOKEN_INVALID", () => token({}, { cnf: {} })],
  ["a confirmation that is null", "TOKEN_INVALID", () => token({}, { cnf: null })],
  ["a refresh token's type", "TOKEN_INVALID", () => token({ typ: "refresh+jwt" })],
  ["a type that is no text", "TOKEN_INVALID", () => token({ typ: ["at+jwt"] })],
  ["an auth_time that is no date", "TOKEN_INVALID", () => token({}, { auth_time: "yesterday" })],
  ["an amr that is no list", "TOKEN_INVALID", () => token({}, { amr: "mfa" })],
  [
    "an audience among others that are no texts",
    "TOKEN_INVALID",
    () => token({}, { aud: [{ aud: "mission-control" }] }),
  ],
  ["an nbf that is no date", "TOKEN_INVALID", () => token({}, { nbf: "0" })],
  ["claims behind a byte order mark", "TOKEN_MALFORMED", () => signed(`\ufeff${JSON.stringify(goodClaims())}`)],
  ["two claims sets", "TOKEN_MALFORMED", () => signed(JSON.stringify(goodClaims()).repeat(2))],
];

/** Signed claims as they are written. */
function signed(claims: string, header = JSON.stringify(goodHeader)): string {
  const input = `${b64(header)}.${b64(claims)}`;
  return `${input}.${es256(input)}`;
}
/** A member twice, for parsers that believe the first. */
function doubled(first: string, second: string): string {
  return signed(JSON.stringify(goodClaims()).replace(first, `${first},${second}`));
}
function doubledHeader(first: string, second: string): string {
  return signed(JSON.stringify(goodClaims()), JSON.stringify(goodHeader).replace(first, `${first},${second}`));
}
