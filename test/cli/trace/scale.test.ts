import { expect, test } from "vitest";
import { createScale, gapColumns } from "../../../src/cli/trace/scale.ts";

test("without long idle stretches a scale is linear", () => {
  const scale = createScale([0, 40, 100], [{ from: 0, to: 100 }], 50);
  expect(scale.gaps).toEqual([]);
  expect([0, 10, 50, 99].map(scale.column)).toEqual([0, 5, 25, 49]);
  expect(scale.column(100)).toBe(49);
  expect(scale.timeAt(25)).toBe(50);
});

test("a long idle stretch is drawn short, what is left shares the room", () => {
  const scale = createScale(
    [0, 10, 1_000, 1_010],
    [
      { from: 0, to: 10 },
      { from: 1_000, to: 1_010 },
    ],
    46,
  );
  expect(scale.gaps).toMatchObject([{ from: 10, to: 1_000, firstColumn: 20 }]);
  expect(scale.column(5)).toBe(10);
  expect(scale.column(1_000)).toBe(20 + gapColumns);
  expect(scale.column(1_005)).toBe(36);
});

test("work is never drawn short, however long it takes", () => {
  expect(createScale([0, 1, 100_000], [{ from: 1, to: 100_000 }], 40).gaps).toEqual([]);
});

test("a life that is one wait is drawn as it is", () => {
  expect(createScale([0, 60_000], [], 40).gaps).toEqual([]);
});

test("half of the chart is kept for what is not a gap", () => {
  const moments = Array.from({ length: 20 }, (_, i) => [i * 1_000, i * 1_000 + 1]).flat();
  const scale = createScale(moments, [], 40);
  expect(scale.gaps.length * gapColumns).toBeLessThanOrEqual(20);
});

test("columns never run backwards or out of the chart", () => {
  const moments = [0, 3, 500, 501, 90_000, 90_400, 86_400_000];
  const scale = createScale(moments, [{ from: 501, to: 90_000 }], 34);
  const columns = moments.map(scale.column);
  expect(columns).toEqual([...columns].sort((a, b) => a - b));
  expect(columns[0]).toBe(0);
  expect(columns.at(-1)).toBe(33);
});

test("a wait that leaves room enough for the work stays to scale", () => {
  expect(createScale([0, 40, 100], [{ from: 0, to: 40 }], 40).gaps).toEqual([]);
});
