import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JWK } from "jose";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { MissionControlError } from "../../src/errors.ts";
import type { IssuerConfig } from "../../src/identity/issuer.ts";
import { createVerifier, type Verifier, type Verify } from "../../src/identity/verify.ts";
import { createLog } from "../../src/log.ts";
import { attacks } from "./attacks.ts";
import { audience, ec, es256, goodClaims, issuer, jwks, now, other, publicJwk, rsa, token } from "./tokens.ts";

const roles = ["viewer", "sre"];
const log = createLog("silent");
const config = { issuer, audiences: [audience], jwks };

/** A verifier of these issuers, as long as the test runs. */
async function verifierOf(...issuers: IssuerConfig[]): Promise<Verify> {
  const verifier = await createVerifier({ issuers, roles, log });
  onTestFinished(() => verifier.close());
  return verifier.verify;
}

let verifier: Verifier;
let verify: Verify;
beforeAll(async () => {
  verifier = await createVerifier({ issuers: [config], roles, log });
  verify = verifier.verify;
});
afterAll(() => verifier.close());

describe("a good token", () => {
  it("gives the principal, with the roles that are known", async () => {
    const claims = goodClaims();
    expect(await verify(token({}, claims))).toEqual({
      issuer,
      subject: "alice",
      roles: ["sre"],
      tokenId: claims.jti,
      issueTime: claims.iat * 1000,
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
    const plain = await verifierOf({ ...config, plainJwt: true });
    await expect(plain(token({ typ: "JWT" }))).resolves.toBeDefined();
    await expect(plain(token({ typ: undefined }))).resolves.toBeDefined();
    await expect(plain(token({ typ: "logout+jwt" }))).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
  });

  it("has its roles in the claim and by the names that the configuration gives", async () => {
    const mapped = await verifierOf({
      ...config,
      claims: { roles: "groups", roleNames: { "oncall-eu": "sre", everyone: "viewer" } },
    });
    const groups = ["oncall-eu", "everyone", "sre", "constructor"];
    expect((await mapped(token({}, { groups, roles: ["admin"] }))).roles).toEqual(["sre", "viewer"]);
  });
});

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
      audiences: [audience],
      jwks: { keys: [publicJwk(other.publicKey, { kid: "ec" })] },
    };
    const both = await verifierOf(config, second);
    const forged = token({}, { iss: issuer }, (input) => es256(input, other.privateKey));
    await expect(both(forged)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
    await expect(both(token({}, { iss: second.issuer }, (i) => es256(i, other.privateKey)))).resolves.toBeDefined();
  });
});

describe("a configuration", () => {
  const load = (keys: object[], more: object = {}) => verifierOf({ ...config, jwks: { keys: keys as JWK[] }, ...more });
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ["no keys", () => load([]), /has no keys/],
    ["a key without a kid", () => load([publicJwk(ec.publicKey, {})]), /has no kid/],
    [
      "two keys of one kid",
      () => load([jwks.keys[0] as object, jwks.keys[0] as object]),
      /key ec: two keys have this kid/,
    ],
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
    ["no audience", () => load(jwks.keys, { audiences: [] }), /audience/],
  ])("with %s is refused, with what is wrong", async (_, make, message) => {
    await expect(make()).rejects.toThrow(message);
  });

  it("may name its key set by file", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mc-jwks-"));
    const file = join(dir, "jwks.json");
    await writeFile(file, JSON.stringify(jwks));
    const fromFile = await verifierOf({ ...config, jwks: { file } });
    await expect(fromFile(token())).resolves.toMatchObject({ subject: "alice" });
    await rm(dir, { recursive: true });
  });
});
