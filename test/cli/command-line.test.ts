import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { brakeLine, commandLine } from "../../src/cli/command-line.ts";

test.each(["plain", "it's", 'workflow.name == "a b"', "$(reboot)", "a;b", "*", "", "risk=high"])(
  "a shell reads %j back as it was",
  (word) => {
    const shown = execFileSync("sh", ["-c", `printf '<%s>' ${commandLine([word])}`], { encoding: "utf8" });
    expect(shown).toBe(`<${word}>`);
  },
);

test("the reason is left to be filled in", () => {
  expect(brakeLine("approve", "br_1")).toBe('mctl brake approve br_1 --reason "…"');
  expect(brakeLine("get", "br_1")).toBe("mctl brake get br_1");
});
