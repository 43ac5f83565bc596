import { expect, test } from "vitest";
import { createTerminal } from "../../../src/cli/terminal.ts";
import { entriesProgress } from "../../../src/cli/view/entries-progress.ts";

const stdout = { isTTY: true, columns: 80 } as NodeJS.WriteStream;

test("a ledger that grows while one goes through it is never more than whole, and takes no less than no time", () => {
  const view = entriesProgress(createTerminal({ stdout, stderr: stdout, env: {}, color: false }), "verified");
  view.line({ done: 1, of: 26 });
  const line = view.line({ done: 27, of: 26 });
  expect(line).toMatch(/^27\/27 entries verified, /);
  expect(line).not.toContain("-");
});
