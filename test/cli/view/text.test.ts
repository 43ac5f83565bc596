import { expect, test } from "vitest";
import { cut, displayWidth, printable } from "../../../src/cli/view/text.ts";

test.each([
  ["plain", "plain"],
  ["\u001b[31mred\u001b[0m", "red"],
  ["\u001b]0;title\u0007text", "text"],
  ["two\nlines\r\n", "two lines "],
  ["a\u202eb", "a b"],
])("%j is printed as %j", (text, shown) => expect(printable(text)).toBe(shown));

test("lines are kept where that is asked for", () => expect(printable("a\u0007\nb", true)).toBe("a\nb"));

test("width counts columns, not characters", () => {
  expect(displayWidth("abc")).toBe(3);
  expect(displayWidth("客户")).toBe(4);
  expect(displayWidth("e\u0301")).toBe(1);
  expect(displayWidth("🚨")).toBe(2);
});

test("cut never exceeds its width", () => {
  expect(cut("abcdef", 4, "…")).toBe("abc…");
  expect(cut("客户客户", 4, "…")).toBe("客…");
  expect(cut("abc", 3, "…")).toBe("abc");
});
