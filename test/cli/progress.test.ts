import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startProgress } from "../../src/cli/progress.ts";

const view = {
  bar: (value: number, columns: number) => `[${value}] of ${columns}`,
  line: (value: number) => `now ${value}`,
};

function screen(liveColumns: number | undefined) {
  const written: string[] = [];
  return { written, liveColumns, write: (text: string) => void written.push(text) };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("on a live screen one line is drawn anew, lines beside it stay above it, and it ends with its last value", () => {
  const live = screen(80);
  const progress = startProgress(live, view);
  progress.show(1);
  progress.show(2);
  progress.aside(() => live.write("a note\n"));
  progress.show(3);
  progress.end();
  expect(live.written).toEqual([
    "\r[1] of 79\u001b[K",
    "\r\u001b[K",
    "a note\n",
    "\r[2] of 79\u001b[K",
    "\r[3] of 79\u001b[K",
    "\n",
  ]);
});

test("a bar moves on between two events", () => {
  const live = screen(80);
  startProgress(live, view).show(1);
  vi.advanceTimersByTime(250);
  expect(live.written).toHaveLength(3);
});

test("elsewhere there is a line a second at the most, none that says the same, and no control character", () => {
  const log = screen(undefined);
  const progress = startProgress(log, view);
  for (const value of [1, 2, 3]) progress.show(value);
  vi.advanceTimersByTime(5_000);
  expect(log.written).toEqual(["now 1\n", "now 3\n"]);
  progress.show(4);
  progress.show(5);
  progress.end();
  expect(log.written).toEqual(["now 1\n", "now 3\n", "now 4\n", "now 5\n"]);
});

test("what never had a value ends without a trace", () => {
  const live = screen(80);
  startProgress(live, view).end();
  expect(live.written).toEqual([]);
});
