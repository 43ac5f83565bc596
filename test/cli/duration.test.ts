import { expect, test } from "vitest";
import { formatCoarseDuration, formatDuration, parseDuration } from "../../src/cli/duration.ts";

test.each([
  ["500ms", 500],
  ["10s", 10_000],
  ["1.5s", 1_500],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
  ["0s", 0],
])("%s is %i ms", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each(["", "10", "s", "1m1h", "-1s", "1.2.3s", "1 h", "10S"])("%j is no duration", (text) =>
  expect(parseDuration(text)).toBeUndefined(),
);

test.each([
  [0, "0ms"],
  [999, "999ms"],
  [999.6, "1s"],
  [1_240, "1.2s"],
  [9_960, "10s"],
  [59_600, "1m00s"],
  [192_000, "3m12s"],
  [7_500_000, "2h05m"],
  [273_600_000, "3d4h"],
])("%d ms reads %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

test.each([450, 999, 59_999, 99_000, 119_800, 7_199_000, 86_400_000 * 300])(
  "%d ms in one unit takes four columns at the most",
  (ms) => expect(formatCoarseDuration(ms).length).toBeLessThanOrEqual(4),
);
