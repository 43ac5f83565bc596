import { expect, test } from "vitest";
import { mctl } from "./run.ts";

const commands = [
  "list",
  "get",
  "trace",
  "pause",
  "resume",
  "watch",
  "health",
  "audit",
  "audit list",
  "audit erase",
  "token",
  "brake",
  "brake preview",
  "brake engage",
  "brake list",
  "brake get",
  "brake watch",
  "brake approve",
  "brake release",
];

test.each(commands)("mctl %s --help has examples and names the global flags", async (command) => {
  const { code, stdout, stderr } = await mctl([...command.split(" "), "--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("--server <url>");
  expect(stdout.split("Examples:\n")[1]?.match(/ {2}\$ .*mctl /g)?.length).toBeGreaterThanOrEqual(2);
});

test("mctl --help tells about settings, exit codes and dev mode", async () => {
  const { stdout } = await mctl(["--help"]);
  for (const word of ["MCTL_SERVER", "config.json", "Exit codes", ".mission-control/"]) expect(stdout).toContain(word);
  for (const command of commands) expect(stdout).toContain(command.split(" ")[0]);
});

test.each([
  [["lsit"], /unknown command 'lsit'\n\(Did you mean list\?\)/],
  [["list", "--stauts", "PAUSED"], /unknown option '--stauts'/],
  [["list", "--status", "ASLEEP"], /'ASLEEP' is invalid. Known: PENDING, RUNNING/],
  [["list", "--since", "soon"], /must be an age like 1h30m or a time like/],
  [["list", "--label", "owner"], /must be key=value/],
  [["get"], /missing required argument 'workflow-id'/],
  [["brake"], /Usage: mctl brake/],
  [["brake", "release", "br_1", "--staged", "0%"], /must be 1% to 100%/],
  [["brake", "list", "--state", "ON"], /Known: AWAITING_APPROVAL, ENGAGED/],
  [["audit"], /Usage: mctl audit/],
  [[], /Usage: mctl/],
])("%j is a usage error with exit code 2", async (args, message) => {
  const { code, stdout, stderr } = await mctl(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(message);
});

test("with -o json a usage error is google.rpc.Status too", async () => {
  const { code, stderr } = await mctl(["list", "-o", "json", "--limit", "0"]);
  expect(code).toBe(2);
  expect(JSON.parse(stderr)).toMatchObject({ code: 3, message: expect.stringMatching(/whole number from 1/) });
});
