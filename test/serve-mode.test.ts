import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ComponentHealth_Status, MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { openDevIssuer } from "../src/identity/dev-issuer.ts";
import { createAuthority } from "./fixture/certificates.ts";
import { spawnProcess } from "./fixture/dev-process.ts";
import { createServeDirectory, type ServeDirectory } from "./fixture/serve-process.ts";
import { grpcClient } from "./http/grpc-js.ts";

let directory: ServeDirectory;
beforeEach(async () => {
  directory = await createServeDirectory();
});
afterEach(() => directory.remove());

const refusal = async (config: Record<string, unknown>, ...flags: string[]) => {
  const { code, stdout, stderr } = await directory.spawn(config, ...flags).ended;
  expect(stdout).toBe("");
  return { code, stderr: stderr.replaceAll(directory.configFile, "FILE").replaceAll(directory.dir, "DIR") };
};

test("it serves whom the configured issuer vouches for, in the configured roles, and nobody else; SIGTERM ends it with 0", async () => {
  const process = await directory.start({
    ...directory.config(),
    roles: { watchman: { permissions: ["health.read"] } },
  });
  const get = async (path: string, token?: string) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(`http://127.0.0.1:${directory.port}${path}`, { headers });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const watchman = await directory.issuer.token({ subject: "wanda", roles: ["watchman"] });
  const health = await get("/v1/health", watchman);
  expect(health).toMatchObject({ status: 200, body: { version: expect.any(String) } });
  expect(health.body).not.toHaveProperty("devMode");
  expect((await get("/v1/audit/entries", watchman)).status).toBe(403);
  expect((await get("/v1/health")).status).toBe(401);
  const stranger = await openDevIssuer(join(directory.dir, "elsewhere"));
  const forged = await stranger.signDevToken({ subject: "mallory", roles: ["sre_admin"], expiresIn: 60 });
  expect((await get("/v1/health", forged)).status).toBe(401);

  const auditor = await directory.issuer.token({ subject: "anna", roles: ["auditor"] });
  const { entries } = (await get("/v1/audit/entries", auditor)).body as { entries: Record<string, string>[] };
  expect(entries.find(({ action }) => action === "server.started")?.message).toContain(
    "without TLS: a test on loopback",
  );
  process.child.kill("SIGTERM");
  expect(await process.ended).toMatchObject({ code: 0 });
});

test("with tls it serves over TLS only, and health tells until when the certificate is good", async () => {
  const { plaintext_because: _, ...config } = directory.config();
  const authority = createAuthority();
  const server = authority.issue("server", 5);
  writeFileSync(join(directory.dir, "server.crt"), server.cert);
  writeFileSync(join(directory.dir, "server.key"), server.key);
  const process = await directory.start({ ...config, tls: { cert: "server.crt", key: "server.key" } });
  expect(process.output()).toContain(`on https://127.0.0.1:${directory.port}`);
  const client = grpcClient(`https://127.0.0.1:${directory.port}`, {}, { ca: authority.cert });
  const token = await directory.issuer.token({ subject: "olga", roles: ["viewer"] });
  const { message } = await client.unary(MissionControl.method.getHealth, {}, { authorization: `Bearer ${token}` });
  client.close();
  expect(message.components.find(({ name }) => name === "tls")).toMatchObject({
    status: ComponentHealth_Status.DEGRADED,
    message: expect.stringMatching(/^the certificate expires \d{4}-.*: replace its files$/),
  });
  const plain = await fetch(`http://127.0.0.1:${directory.port}/livez`);
  expect(plain.status).toBe(400);
});

test("on a ledger that was rolled back it refuses every call, until that is acknowledged with a reason", async () => {
  const config = { ...directory.config(), ledger: { checkpoints_dir: "elsewhere", checkpoints_to_stdout: true } };
  const database = join(directory.dir, "data/mission-control.db");
  const first = await directory.start(config);
  await first.untilPrinted('"ledgerSize":');
  first.child.kill("SIGTERM");
  await first.ended;
  copyFileSync(database, join(directory.dir, "yesterday.db"));
  const second = await directory.start(config);
  second.child.kill("SIGTERM");
  await second.ended;
  copyFileSync(join(directory.dir, "yesterday.db"), database);

  const health = async () => {
    const token = await directory.issuer.token({ subject: "anna", roles: ["auditor"] });
    const answer = await fetch(`http://127.0.0.1:${directory.port}/v1/audit/entries`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return { status: answer.status, text: await answer.text() };
  };
  const refusing = await directory.start(config);
  expect(refusing.output()).toContain("THE LEDGER IS NOT WHAT WAS PUBLISHED");
  expect(await health()).toMatchObject({ status: 500, text: expect.stringContaining("LEDGER_TAMPERED") });
  refusing.child.kill("SIGTERM");
  await refusing.ended;

  const going = directory.spawn(config, "--acknowledge-ledger-rollback", "restored after INC-7");
  await going.untilPrinted("Mission Control serves");
  const { status, text } = await health();
  expect(status).toBe(200);
  expect(text).toMatch(/ledger\.rollback_acknowledged/);
  expect(text).toContain("restored after INC-7");
});

test("a second one on the same data directory is refused", async () => {
  await directory.start(directory.config());
  const second = await directory.spawn({ ...directory.config(), listen: { host: "127.0.0.1", port: 0 } }).ended;
  expect(second.code).toBe(1);
  expect(second.stderr).toContain("Another Mission Control uses the data directory");
});

describe("it refuses to start, with exit code 2, what is at fault and what to do", () => {
  test("without a configuration file", async () => {
    const { code, stderr } = await spawnProcess(process.execPath, ["bin/mission-control.js", "serve"]).ended;
    expect(code).toBe(2);
    expect(stderr).toMatch(/--config \(MC_CONFIG\) has to name the configuration file/);
  });

  test("on a key that is not known", async () => {
    const { code, stderr } = await refusal({ ...directory.config(), brakez: {} });
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/FILE:1: brakez is not known here: use one of /),
    });
  });

  test.each<[string, string[], RegExp]>([
    [
      "TLS or a reason to do without",
      ["plaintext_because"],
      /FILE: tls is missing: name cert and key, or say in plaintext_because why/,
    ],
    ["a data directory", ["data_dir"], /FILE: data_dir is missing/],
    ["an engine", ["engines"], /FILE: engines is missing/],
    ["an issuer", ["identity"], /FILE: identity\.issuers is missing: name at least one, else nobody could call/],
    [
      "anything",
      ["plaintext_because", "data_dir", "engines", "identity"],
      /tls is missing[\s\S]*data_dir[\s\S]*engines[\s\S]*identity/,
    ],
  ])("without %s", async (_, keys, told) => {
    const config = Object.fromEntries(Object.entries(directory.config()).filter(([key]) => !keys.includes(key)));
    expect(await refusal(config)).toEqual({ code: 2, stderr: expect.stringMatching(told) });
  });

  test("with an empty list of issuers", async () => {
    const { stderr } = await refusal({ ...directory.config(), identity: { issuers: [] } });
    expect(stderr).toMatch(/identity\.issuers is missing/);
  });

  test("on dev mode's issuer, by its name, by its keys, and by its folder", async () => {
    await openDevIssuer(join(directory.dir, "dev"));
    const { kty, crv, x, y, kid } = JSON.parse(
      readFileSync(join(directory.dir, "dev/dev-issuer/private.jwk.json"), "utf8"),
    ) as Record<string, string>;
    const write = (path: string, key: Record<string, unknown>) => {
      writeFileSync(join(directory.dir, path), JSON.stringify({ keys: [key] }));
      return path;
    };
    const devKeys = write("dev-keys.json", { kty, crv, x, y, kid });
    const besides = write("dev/dev-issuer/jwks.json", { kty, crv, x, y, kid: "renamed" });
    const issuers = [
      { issuer: "mission-control-dev", audience: "a", jwks_file: directory.issuer.jwksFile },
      { issuer: "https://a.example", audience: "a", jwks_file: devKeys },
      { issuer: "https://b.example", audience: "a", jwks_file: besides },
    ];
    const { code, stderr } = await refusal({ ...directory.config(), identity: { issuers } });
    expect(code).toBe(2);
    expect(stderr).toMatch(/identity\.issuers\[0\] is dev mode's own issuer/);
    expect(stderr).toMatch(/identity\.issuers\[1\] has a key of dev mode's issuer/);
    expect(stderr).toMatch(/identity\.issuers\[2\] has its keys in dev mode's folder/);
  });

  test("on a data directory of dev mode", async () => {
    await openDevIssuer(join(directory.dir, "data"));
    const { code, stderr } = await refusal(directory.config());
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/FILE: data_dir: DIR\/data belongs to dev mode/),
    });
  });

  test("with TLS files that are not there, or do not fit", async () => {
    const { plaintext_because: _, ...config } = directory.config();
    const told = await refusal({ ...config, tls: { cert: "server.crt", key: "server.key" } });
    expect(told).toEqual({ code: 2, stderr: expect.stringMatching(/tls\.cert: cannot read DIR\/server\.crt: ENOENT/) });
    writeFileSync(join(directory.dir, "server.crt"), createAuthority().cert);
    writeFileSync(join(directory.dir, "server.key"), createAuthority().key);
    expect((await refusal({ ...config, tls: { cert: "server.crt", key: "server.key" } })).stderr).toMatch(
      /DIR\/server\.crt with the key DIR\/server\.key cannot be used/,
    );
  });

  test("with keys that cannot be read, and policies that are not there", async () => {
    const issuers = [{ issuer: "https://a.example", audience: "a", jwks_file: "missing.json" }];
    expect((await refusal({ ...directory.config(), identity: { issuers } })).stderr).toMatch(/missing\.json/);
    mkdirSync(join(directory.dir, "empty"));
    expect((await refusal({ ...directory.config(), policy: { dir: "empty" } })).code).toBe(2);
  });
});

test("--check tells whether it could start, and starts nothing", async () => {
  const good = await directory.spawn(directory.config(), "--check").ended;
  expect(good).toMatchObject({ code: 0, stdout: "The configuration can be served.\n" });
  const bad = await directory.spawn({ ...directory.config(), engines: [] }, "--check").ended;
  expect(bad).toMatchObject({ code: 2, stdout: "" });
  expect(bad.stderr).toContain("engines is missing");
});

test("dev mode does not start on a data directory of production", async () => {
  const process = await directory.start(directory.config());
  process.child.kill("SIGTERM");
  await process.ended;
  const dataDir = join(directory.dir, "data");
  const dev = spawnProcess(globalThis.process.execPath, ["bin/mission-control.js", "dev", "--data-dir", dataDir]);
  const { code, stderr } = await dev.ended;
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("is one of production") });
});

test("a port in use is told, with the key to change", async () => {
  await directory.start(directory.config());
  const { code, stderr } = await directory.spawn({ ...directory.config(), data_dir: "other" }).ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/Port \d+ on 127\.0\.0\.1 is in use\. .*\(listen\.port\)\./);
});
