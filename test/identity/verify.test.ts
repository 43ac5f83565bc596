import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JSONWebKeySet, JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import type { MissionControlError } from "../../src/errors.ts";
import { createVerifier, type Verify } from "../../src/identity/verify.ts";

const issuer = "https://issuer.test";
const audience = "mission-control";
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
const publicJwk = (key: KeyObject, more: object) => ({ ...key.export({ format: "jwk" }), ...more }) as JWK;
const jwks: JSONWebKeySet = {
  keys: [publicJwk(ec.publicKey, { kid: "ec", alg: "ES256" }), publicJwk(rsa.publicKey, { kid: "rsa", alg: "RS256" })],
};
const roles = ["viewer", "sre"];

const b64 = (value: unknown) =>
  (typeof value === "string" ? Buffer.from(value) : Buffer.from(JSON.stringify(value))).toString("base64url");
const now = () => Math.floor(Date.now() / 1000);
const goodHeader = { alg: "ES256", typ: "at+jwt", kid: "ec" };
const goodClaims = () => ({
  iss: issuer,
  aud: audience,
  sub: "alice",
  iat: now(),
  exp: now() + 300,
  jti: randomUUID(),
  roles: ["sre", "root"],
});
const es256 = (input: string, key: KeyObject = ec.privateKey) =>
  sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");

/** A token with parts replaced; undefined takes a member away. Signed with the good key unless said otherwise. */
function token(header: object = {}, claims: object = {}, signWith: (input: string) => string = es256): string {
  const input = `${b64({ ...goodHeader, ...header })}.${b64({ ...goodClaims(), ...claims })}`;
  return `${input}.${signWith(input)}`;
}

let verify: Verify;
beforeAll(async () => {
  verify = await createVerifier({ issuers: [{ issuer, audience, jwks }], roles });
});

describe("a good token", () => {
  it("gives the principal, with the roles that are known", async () => {
    const claims = goodClaims();
    expect(await verify(token({}, claims))).toEqual({
      issuer,
      subject: "alice",
      roles: ["sre"],
      tokenId: claims.jti,
      expireTime: claims.exp * 1000,
      authenticationMethod: "jwt",
    });
  });

  it("may be signed with any accepted algorithm, name several audiences, and have no roles", async () => {
    const rs256 = (input: string) => sign("sha256", Buffer.from(input), rsa.privateKey).toString("base64url");
    expect(
      await verify(token({ alg: "RS256", kid: "rsa" }, { aud: ["x", audience], roles: undefined }, rs256)),
    ).toMatchObject({ subject: "alice", roles: [] });
  });

  it("is accepted up to 30 s after its end, for clocks that differ", async () => {
    await expect(verify(token({}, { exp: now() - 25 }))).resolves.toMatchObject({ subject: "alice" });
    await expect(verify(token({ typ: "application/AT+JWT" }, { iat: now() + 25 }))).resolves.toBeDefined();
  });

  it("is accepted with typ JWT only where the issuer's configuration says so", async () => {
    const plain = await createVerifier({ issuers: [{ issuer, audience, jwks, plainJwt: true }], roles });
    await expect(plain(token({ typ: "JWT" }))).resolves.toBeDefined();
    await expect(plain(token({ typ: undefined }))).resolves.toBeDefined();
    await expect(plain(token({ typ: "logout+jwt" }))).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
  });

  it("has its roles in the claim and by the names that the configuration gives", async () => {
    const mapped = await createVerifier({
      issuers: [
        { issuer, audience, jwks, rolesClaim: "groups", roleNames: { "oncall-eu": "sre", everyone: "viewer" } },
      ],
      roles,
    });
    const groups = ["oncall-eu", "everyone", "sre", "constructor"];
    expect((await mapped(token({}, { groups, roles: ["admin"] }))).roles).toEqual(["sre", "viewer"]);
  });
});

const signature = (text: string) => token().split(".").slice(0, 2).concat(text).join(".");
/** The last character's low bits are not part of the signature: another spelling of the same bytes. */
function respelled(): string {
  const good = token();
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return good.slice(0, -1) + alphabet[alphabet.indexOf(good.at(-1) as string) ^ 1];
}
const hs256 = (secret: string | Buffer) => (input: string) =>
  createHmac("sha256", secret).update(input).digest("base64url");
const pem = ec.publicKey.export({ format: "pem", type: "spki" });
const otherJwk = publicJwk(other.publicKey, { kid: "ec" });

const attacks: [name: string, reason: string, token: () => string][] = [
  ["nothing", "TOKEN_MALFORMED", () => ""],
  ["one word", "TOKEN_MALFORMED", () => "secret"],
  ["two parts", "TOKEN_MALFORMED", () => token().split(".").slice(0, 2).join(".")],
  ["four parts", "TOKEN_MALFORMED", () => `${token()}.AAAA`],
  ["an encrypted token", "TOKEN_INVALID", () => `${b64({ alg: "dir", enc: "A256GCM" })}..AAAA.AAAA.AAAA`],
  ["padding", "TOKEN_MALFORMED", () => `${token()}==`],
  ["white space in it", "TOKEN_MALFORMED", () => token().replace(".", " .")],
  ["the plain base64 alphabet", "TOKEN_MALFORMED", () => signature("++//")],
  ["another spelling of a good signature", "TOKEN_MALFORMED", respelled],
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
];

describe("a token with", () => {
  it.each(attacks)("%s is refused: %s", async (_, reason, make) => {
    const attack = make();
    const error = await verify(attack).then(
      () => undefined,
      (thrown: MissionControlError) => thrown,
    );
    expect(error).toMatchObject({ name: "MissionControlError", reason });
    const told = `${error?.message} ${JSON.stringify(error?.metadata)}`;
    const parts = attack.split(".").filter((part) => part.length > 8);
    for (const leak of [...parts, "alice", "evil", "dev/null"]) expect(told).not.toContain(leak);
  });

  it("the keys of one issuer for the name of another is refused", async () => {
    const second = {
      issuer: "https://second.test",
      audience,
      jwks: { keys: [publicJwk(other.publicKey, { kid: "ec" })] },
    };
    const both = await createVerifier({ issuers: [{ issuer, audience, jwks }, second], roles });
    const forged = token({}, { iss: issuer }, (input) => es256(input, other.privateKey));
    await expect(both(forged)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
    await expect(both(token({}, { iss: second.issuer }, (i) => es256(i, other.privateKey)))).resolves.toBeDefined();
  });
});

describe("a configuration", () => {
  const load = (keys: object[], more: object = {}) =>
    createVerifier({ issuers: [{ issuer, audience, jwks: { keys: keys as JWK[] }, ...more }], roles });
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ["no keys", () => load([]), /has no keys/],
    ["a key without a kid", () => load([publicJwk(ec.publicKey, {})]), /no kid/],
    ["two keys of one kid", () => load([jwks.keys[0] as object, jwks.keys[0] as object]), /two keys have the kid ec/],
    ["a shared secret", () => load([{ kty: "oct", k: "AAAA", kid: "s" }]), /key s: is a shared secret/],
    ["a private key", () => load([publicJwk(ec.privateKey, { kid: "p" })]), /key p: is a private key/],
    ["a weak key", () => load([publicJwk(weak, { kid: "w" })]), /key w: its RSA modulus is shorter than 2048 bits/],
    ["a key for encryption", () => load([publicJwk(ec.publicKey, { kid: "e", use: "enc" })]), /its use is enc/],
    ["an algorithm with a shared secret", () => load(jwks.keys, { algorithms: ["HS256"] }), /algorithms: HS256/],
    [
      "a key file that is not there",
      () => load([], { jwks: { file: "/nowhere/jwks.json" } }),
      /cannot read .*\/nowhere/,
    ],
    ["no audience", () => load(jwks.keys, { audience: "" }), /audience/],
  ])("with %s is refused, with what is wrong", async (_, make, message) => {
    await expect(make()).rejects.toThrow(message);
  });

  it("may name its key set by file", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mc-jwks-"));
    const file = join(dir, "jwks.json");
    await writeFile(file, JSON.stringify(jwks));
    const fromFile = await createVerifier({ issuers: [{ issuer, audience, jwks: { file } }], roles });
    await expect(fromFile(token())).resolves.toMatchObject({ subject: "alice" });
    await rm(dir, { recursive: true });
  });
});
