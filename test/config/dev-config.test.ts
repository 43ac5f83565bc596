import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ConfigError } from "../../src/config/config-error.ts";
import { readDevConfig } from "../../src/config/dev-config.ts";
import { devGateEngines } from "../../src/dev/gate-engines.ts";

test.each([
  [["--drill-every", "10m"], 600_000],
  [["--drill-every", "1m"], 60_000],
  [["--drill-every", "24h"], 86_400_000],
  [[], undefined],
])("%j: drills every %s ms", (args, ms) => {
  expect(readDevConfig(args, {}).drillEveryMs).toBe(ms);
});

test("the environment says it too, and the flag wins", () => {
  expect(readDevConfig([], { MC_DRILL_EVERY: "5m" }).drillEveryMs).toBe(300_000);
  expect(readDevConfig(["--drill-every", "2h"], { MC_DRILL_EVERY: "5m" }).drillEveryMs).toBe(7_200_000);
});

test.each(["59s", "0m", "25h", "1441m", "10", "often", "-5m"])(
  "%s is no time between drills, and it is said what is",
  (time) => {
    const read = () => readDevConfig([], { MC_DRILL_EVERY: time });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(`has to be a time from 1m to 24h, like 10m, not "${time}"`);
  },
);

test("drills need the sample agents", () => {
  expect(() => readDevConfig(["--drill-every", "10m", "--no-agents"], {})).toThrow("needs the sample agents");
});

test("what runs of dev mode's own gate engines are given is kept only where that is asked for", () => {
  expect(readDevConfig([], {}).keepInputs).toBe(false);
  expect(readDevConfig([], { MC_KEEP_INPUTS: "true" }).keepInputs).toBe(true);
  expect(readDevConfig(["--keep-inputs"], {}).keepInputs).toBe(true);
  expect(devGateEngines(false).map(({ inputs }) => inputs)).toEqual([undefined, undefined]);
  const kept = { redact: [], maxBytes: 4096 };
  expect(devGateEngines(true).map(({ inputs }) => inputs)).toEqual([kept, kept]);
});

describe("with a configuration file", () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-config-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const file = (text: string) => {
    const path = join(dir, "dev.yaml");
    writeFileSync(path, text);
    return path;
  };

  test("flags win over the environment, and that over the file, and that over the defaults", () => {
    const config = file("listen: { port: 1001 }\ndata_dir: here\nlog_level: debug\n");
    expect(readDevConfig(["--config", config], {})).toMatchObject({
      host: "127.0.0.1",
      port: 1001,
      dataDir: join(dir, "here"),
      logLevel: "debug",
    });
    const around = { MC_CONFIG: config, MC_PORT: "1002" };
    expect(readDevConfig([], around).port).toBe(1002);
    expect(readDevConfig(["--port", "1003"], around).port).toBe(1003);
  });

  test("dev keys stay on loopback, whoever says otherwise", () => {
    const config = file("listen: { host: 0.0.0.0 }\n");
    expect(() => readDevConfig(["--config", config], {})).toThrow("it binds loopback only");
  });

  test("the embedded engine's name is taken", () => {
    const config = file("engines: [{ name: restate, kind: restate, admin_url: 'http://127.0.0.1:9070' }]\n");
    expect(() => readDevConfig(["--config", config], {})).toThrow(
      `"restate" is the name of dev mode's embedded engine`,
    );
  });
});
