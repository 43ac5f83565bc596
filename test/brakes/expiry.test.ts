import { expect, test } from "vitest";
import { boundedExpiry, expireTimeOf, isExpired, isUnapproved, isWarningDue } from "../../src/brakes/expiry.ts";
import type { Brake } from "../../src/store/brake.ts";
import { brake } from "../store/entry.ts";

const at = (about: Partial<Brake>) => brake({ engageTime: 1_000, ...about });
const approval = {
  matched: 9,
  setHash: "",
  ids: [],
  tolerance: 0,
  approvedBy: "",
  approveTime: undefined,
  approveEntryId: "",
  approveBy: 5_000,
};

test("a brake expires so long after its engagement, not after it was asked for", () => {
  expect(expireTimeOf(at({ createTime: 1, expiresInMs: 500 }))).toBe(1_500);
  expect(expireTimeOf(at({ engageTime: undefined, state: "AWAITING_APPROVAL", expiresInMs: 500 }))).toBeUndefined();
  expect(expireTimeOf(at({}))).toBeUndefined();
});

test("it is over from its time on, once", () => {
  const short = at({ expiresInMs: 500 });
  expect([isExpired(short, 1_499), isExpired(short, 1_500)]).toEqual([false, true]);
  expect(isExpired({ ...short, state: "EXPIRED" }, 9_999)).toBe(false);
});

test("it is warned about a minute before, or for the last fifth of a short time, once", () => {
  const long = at({ expiresInMs: 3_600_000 });
  expect([isWarningDue(long, 3_540_999), isWarningDue(long, 3_541_000)]).toEqual([false, true]);
  const short = at({ expiresInMs: 1_000 });
  expect([isWarningDue(short, 1_799), isWarningDue(short, 1_800)]).toEqual([false, true]);
  expect(isWarningDue({ ...short, expiryWarned: true }, 1_900)).toBe(false);
});

test("an emergency is over where nobody approved it in time", () => {
  const emergency = at({ emergency: true, approval });
  expect([isUnapproved(emergency, 4_999), isUnapproved(emergency, 5_000)]).toEqual([false, true]);
  expect(isUnapproved({ ...emergency, approval: { ...approval, approvedBy: "bob" } }, 9_999)).toBe(false);
});

test("no brake holds longer than is allowed, and one that asks for nothing holds as long as that", () => {
  expect(boundedExpiry(undefined, undefined)).toBeUndefined();
  expect(boundedExpiry(500, undefined)).toBe(500);
  expect(boundedExpiry(undefined, 1_000)).toBe(1_000);
  expect(boundedExpiry(1_000, 1_000)).toBe(1_000);
  expect(() => boundedExpiry(1_001, 1_000)).toThrow(/at most 1 s/);
});
