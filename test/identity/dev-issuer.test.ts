import { createPrivateKey, sign } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { createVerifier } from "../../src/identity/verify.ts";
import { createLog } from "../../src/log.ts";

const log = createLog("silent");
let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "mc-dev-"));
});
afterEach(() => rm(dataDir, { recursive: true }));
const keyFile = () => join(dataDir, "dev-issuer", "private.jwk.json");
const alice = { subject: "alice", roles: ["sre"], expiresIn: 60 };

it("the development issuer's tokens are accepted, also after a restart", async () => {
  const first = await openDevIssuer(dataDir);
  const token = await first.signDevToken(alice);
  const second = await openDevIssuer(dataDir);
  const { verify } = await createVerifier({ issuers: [second.config], roles: ["sre"], log });
  expect(await verify(token)).toMatchObject({ issuer: "mission-control-dev", subject: "alice", roles: ["sre"] });
});

it("a process that can read the key file can sign by the documented format alone, as mctl does", async () => {
  const { verify } = await createVerifier({ issuers: [(await openDevIssuer(dataDir)).config], roles: ["viewer"], log });
  const jwk = JSON.parse(await readFile(keyFile(), "utf8"));
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "mission-control-dev",
    aud: "mission-control",
    sub: "bob",
    iat: now,
    exp: now + 60,
    jti: "1",
    roles: ["viewer"],
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${part({ alg: "ES256", typ: "at+jwt", kid: jwk.kid })}.${part(claims)}`;
  const key = createPrivateKey({ key: jwk, format: "jwk" });
  const signature = sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
  expect(await verify(`${input}.${signature}`)).toMatchObject({ subject: "bob", roles: ["viewer"], tokenId: "1" });
});

it("starts that race end with one key, and leave nothing else behind", async () => {
  const issuers = await Promise.all(Array.from({ length: 8 }, () => openDevIssuer(dataDir)));
  const kids = new Set(issuers.map(({ config }) => ("keys" in config.jwks ? config.jwks.keys[0]?.kid : "")));
  expect(kids.size).toBe(1);
  expect(await readdir(join(dataDir, "dev-issuer"))).toEqual(["private.jwk.json"]);
});

it("nobody else can read the key, and the verifier is given the public part only", async () => {
  const { config } = await openDevIssuer(dataDir);
  expect((await stat(keyFile())).mode & 0o777).toBe(0o600);
  expect((await stat(join(dataDir, "dev-issuer"))).mode & 0o777).toBe(0o700);
  const { d } = JSON.parse(await readFile(keyFile(), "utf8"));
  expect(d).toBeTypeOf("string");
  expect(JSON.stringify(config)).not.toContain(d);
});

it("a key file that others can read, or that is none, is refused with what to do", async () => {
  await openDevIssuer(dataDir);
  await chmod(keyFile(), 0o644);
  await expect(openDevIssuer(dataDir)).rejects.toThrow(/chmod 600/);
  await chmod(keyFile(), 0o600);
  await writeFile(keyFile(), '{"kty":"EC"}');
  await expect(openDevIssuer(dataDir)).rejects.toThrow(/delete it to get a new one/);
});
