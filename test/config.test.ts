import { expect, test } from "vitest";
import { ConfigError, readDevConfig } from "../src/config.ts";

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
