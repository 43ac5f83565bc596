import { expect, test } from "vitest";
import { createTerminal } from "../../../src/cli/terminal.ts";
import { type Column, renderTable } from "../../../src/cli/view/table.ts";
import { displayWidth } from "../../../src/cli/view/text.ts";

const columns: readonly Column<string>[] = [
  { header: "ID", value: (row) => `restate:inv_${row.repeat(20)}` },
  { header: "NAME", value: (row) => `RefundAgent/${row.repeat(30)}`, minWidth: 10 },
  { header: "REMARK", value: (row) => `because of ${row.repeat(50)}`, minWidth: 16, optional: true },
];

function table(width: number | undefined, unicode = true): string[] {
  const stdout = { isTTY: width !== undefined, columns: width } as NodeJS.WriteStream;
  const env = unicode ? { LANG: "C.UTF-8" } : {};
  return renderTable(columns, ["a", "b"], createTerminal({ stdout, stderr: stdout, env, color: false })).split("\n");
}

test.each([200, 120, 80, 50])("on %i columns no line is wider, and the id stays whole", (width) => {
  const lines = table(width);
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width);
  expect(lines[1]).toContain(`restate:inv_${"a".repeat(20)} `);
});

test("what does not fit is cut with a mark, then optional columns are left out", () => {
  expect(table(120)[1]).toMatch(/…$/);
  expect(table(120, false)[1]).toMatch(/~$/);
  expect(table(60)[0]).not.toContain("REMARK");
});

test("where there is no screen nothing is cut", () => {
  expect(table(undefined)[1]).toContain("a".repeat(50));
});
