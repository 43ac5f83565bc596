import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GlobalFlags, resolveSettings } from "../../src/cli/settings.ts";
import { temporaryFolder } from "./run.ts";

function settings(flags: GlobalFlags, env: Record<string, string>, config?: unknown) {
  const home = temporaryFolder();
  if (config !== undefined) {
    mkdirSync(join(home, ".config", "mission-control"), { recursive: true });
    writeFileSync(join(home, ".config", "mission-control", "config.json"), JSON.stringify(config));
  }
  return resolveSettings(flags, { env, home, cwd: home, user: "alice" });
}

const config = {
  currentContext: "one",
  contexts: {
    one: { server: "https://one.example:8030", token: "one-token", timeout: "3s" },
    two: { server: "https://two.example:8030", tokenFile: "two.jwt", output: "json" },
  },
};

test("nothing said means the dev server, a table and 10 s", () => {
  expect(settings({}, {})).toMatchObject({
    server: "http://127.0.0.1:8030",
    loopback: true,
    output: "table",
    timeoutMs: 10_000,
  });
});

test("the current context of the config file goes before the defaults", async () => {
  const found = settings({}, {}, config);
  expect(found).toMatchObject({ server: "https://one.example:8030", loopback: false, timeoutMs: 3_000 });
  expect(await found.token()).toBe("one-token");
});

test("the environment goes before the config file, flags before both", async () => {
  const env = { MCTL_SERVER: "http://env.example:1", MCTL_TOKEN: "env-token", MCTL_TIMEOUT: "4s" };
  const fromEnv = settings({}, env, config);
  expect(fromEnv).toMatchObject({ server: "http://env.example:1", timeoutMs: 4_000 });
  expect(await fromEnv.token()).toBe("env-token");
  const fromFlags = settings({ server: "http://flag.example:2", token: "flag-token", timeout: "5s" }, env, config);
  expect(fromFlags).toMatchObject({ server: "http://flag.example:2", timeoutMs: 5_000 });
  expect(await fromFlags.token()).toBe("flag-token");
});

test("a context can be named by flag, or by MCTL_CONTEXT", () => {
  expect(settings({ context: "two" }, { MCTL_CONTEXT: "one" }, config).output).toBe("json");
  expect(settings({}, { MCTL_CONTEXT: "two" }, config).server).toBe("https://two.example:8030");
});

test("XDG_CONFIG_HOME moves the config file", () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "mission-control"));
  writeFileSync(join(folder, "mission-control", "config.json"), JSON.stringify(config));
  expect(settings({}, { XDG_CONFIG_HOME: folder }).server).toBe("https://one.example:8030");
});

test("a context's token never goes to another server", async () => {
  expect(await settings({ server: "https://else.example" }, {}, config).token()).toBeUndefined();
  const noServer = { currentContext: "x", contexts: { x: { token: "x-token" } } };
  expect(await settings({ server: "https://else.example" }, {}, noServer).token()).toBeUndefined();
});

test.each([
  [{ contexts: { prod: { servr: "x" } } }, /"contexts.prod.servr" is not a key/],
  [{ context: {} }, /"context" is not a key/],
  [{ contexts: { prod: { timeout: 10 } } }, /"contexts.prod.timeout" must be a non-empty string/],
  [{ contexts: { prod: { token: "a", tokenFile: "b" } } }, /"contexts.prod" has both/],
  [{ contexts: [] }, /"contexts" must be an object/],
  [{ currentContext: "prod", contexts: { dev: {} } }, /"currentContext" must name one of the contexts \(dev\)/],
  [{ currentContext: "p", contexts: { p: { output: "yaml" } } }, /output of context "p" must be table or json/],
])("the config file %j is refused by its key", (file, message) => {
  expect(() => settings({}, {}, file)).toThrow(message);
});

test.each<[GlobalFlags, Record<string, string>, RegExp]>([
  [{ context: "nope" }, {}, /no context "nope" .*\(there: one, two\)/],
  [{ server: "localhost:8030" }, {}, /--server must be a URL/],
  [{ server: "http://u:p@host" }, {}, /--server must be a URL/],
  [{}, { MCTL_SERVER: "ftp://host" }, /MCTL_SERVER must be a URL/],
  [{ output: "yaml" }, {}, /--output must be table or json, not "yaml"/],
  [{}, { MCTL_TIMEOUT: "soon" }, /MCTL_TIMEOUT must be a duration/],
  [{ token: "a", tokenFile: "b" }, {}, /--token and --token-file are both given/],
])("%j with %j is refused by its name", (flags, env, message) => {
  expect(() => settings(flags, env, config)).toThrow(message);
});

test("a token file is read anew for each call, and has to hold a token", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "t.jwt");
  const { token } = settings({ tokenFile: path }, {});
  await expect(token()).rejects.toThrow(/cannot read the token file/);
  writeFileSync(path, "first\n");
  expect(await token()).toBe("first");
  writeFileSync(path, "second");
  expect(await token()).toBe("second");
  writeFileSync(path, "two\nlines");
  await expect(token()).rejects.toThrow(/is not a token/);
});

test.each(["https://127.0.0.1.example", "http://10.0.0.1:8030", "http://localhost.example"])(
  "%s is not this machine: no dev token is made for it",
  async (server) => {
    const found = settings({ server, dataDir: "/nowhere" }, {});
    expect(found.loopback).toBe(false);
    expect(await found.token()).toBeUndefined();
  },
);
