import { expect, it } from "vitest";
import { createEntryIds } from "../../src/ledger/entry-id.ts";

it("entry ids sort as they were made, within one ms and when the clock is set back, and are unique", () => {
  const next = createEntryIds();
  const now = Date.now();
  const ids = [now, now, now, now + 1, now - 60_000, now + 2].map(next);
  expect([...ids].sort()).toEqual(ids);
  const other = createEntryIds();
  const many = Array.from({ length: 10_000 }, () => [next(now), other(now)]).flat();
  expect(new Set(many).size).toBe(20_000);
});
