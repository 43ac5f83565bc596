import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, jwtVerify } from "jose";
import { expect, test } from "vitest";
import { startFakeServer } from "./fake-server.ts";
import { mctl, temporaryFolder } from "./run.ts";

/** A data directory as dev mode leaves it, and the public key that goes with it. */
async function devIssuer(dataDir: string): Promise<{ publicKey: CryptoKey; kid: string }> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk: JWK = await exportJWK(privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  mkdirSync(join(dataDir, "dev-issuer"), { recursive: true });
  writeFileSync(join(dataDir, "dev-issuer", "private.jwk.json"), JSON.stringify({ ...jwk, kid }), { mode: 0o600 });
  return { publicKey, kid };
}

const expected = { issuer: "mission-control-dev", audience: "mission-control", typ: "at+jwt", algorithms: ["ES256"] };

test("token prints a token, and nothing else, that the dev issuer's public key verifies", async () => {
  const cwd = temporaryFolder();
  const { publicKey, kid } = await devIssuer(join(cwd, "data"));
  const args = ["--user", "alice", "--role", "sre", "--role", "auditor", "--expires-in", "15m", "--data-dir", "data"];
  const { code, stdout, stderr } = await mctl(["token", ...args], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^\S+\n$/);
  const { payload, protectedHeader } = await jwtVerify(stdout.trim(), publicKey, expected);
  expect(protectedHeader.kid).toBe(kid);
  expect(payload).toMatchObject({ sub: "alice", roles: ["sre", "auditor"] });
  expect(Number(payload.exp) - Number(payload.iat)).toBe(900);
  expect(payload.jti).toMatch(/^[0-9a-f-]{36}$/);
});

test("token without a dev issuer says what to do", async () => {
  const { code, stdout, stderr } = await mctl(["token"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/npm start.*--data-dir/);
});

test("a broken key file is named, and its content is not shown", async () => {
  const cwd = temporaryFolder();
  mkdirSync(join(cwd, ".mission-control/dev-issuer"), { recursive: true });
  writeFileSync(join(cwd, ".mission-control/dev-issuer/private.jwk.json"), '{"d":"geheim');
  const { code, stderr } = await mctl(["token"], { cwd });
  expect(code).toBe(1);
  expect(stderr).toMatch(/private\.jwk\.json is not JSON/);
  expect(stderr).not.toContain("geheim");
});

test("below a folder where dev mode runs, a newcomer is signed in by itself", async () => {
  const root = temporaryFolder();
  const { publicKey } = await devIssuer(join(root, ".mission-control"));
  const cwd = join(root, "deep", "down");
  mkdirSync(cwd, { recursive: true });
  await using server = await startFakeServer({ missionControl: { listWorkflows: () => ({}) } });
  const { code, stderr } = await mctl(["list", "--server", server.url], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "No workflow matches.\n" });
  const token = server.authorizations[0]?.replace("Bearer ", "") ?? "";
  const { payload } = await jwtVerify(token, publicKey, expected);
  expect(payload.roles).toEqual(["sre", "auditor"]);
  expect(Number(payload.exp) - Number(payload.iat)).toBe(300);
});

test("a configured token goes before the dev issuer's", async () => {
  const cwd = temporaryFolder();
  await devIssuer(join(cwd, ".mission-control"));
  await using server = await startFakeServer({ missionControl: { listWorkflows: () => ({}) } });
  await mctl(["list", "--server", server.url], { cwd, env: { MCTL_TOKEN: "mine" } });
  expect(server.authorizations).toEqual(["Bearer mine"]);
});
