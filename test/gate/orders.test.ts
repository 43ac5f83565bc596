import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RuleSchema } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Orders, type WhenDisconnected } from "../../src/gate/orders.ts";
import { Rules } from "../../src/gate/rules.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const minute = 60_000;
const held = { id: "inv_held", type: "T", handler: "run", name: "T/run" };
const free = { ...held, id: "inv_free" };
const rules = new Rules(1n, [create(RuleSchema, { brakeId: "br_1", workflowIds: ["inv_held"] })]);
const ordersThat = (whenDisconnected: WhenDisconnected) =>
  new Orders({ whenDisconnected, staleLimitMs: 10 * minute, holdLimitMs: 20 * minute });
/** What happens to a workflow that a brake holds, and to one that none does. */
const now = (orders: Orders) => [held, free].map((one) => orders.reasonToHold(one) ?? "goes on");

test("the rules hold what they say, and the reason names the brake", () => {
  const orders = ordersThat("go on");
  orders.apply(rules);
  expect(now(orders)).toEqual(["brake br_1", "goes on"]);
});

test("before the first connection: nothing is held, or with hold everything, until its limit", () => {
  expect(now(ordersThat("go on"))).toEqual(["goes on", "goes on"]);
  const holding = ordersThat("hold");
  expect(now(holding)).toEqual(["no connection to it", "no connection to it"]);
  vi.advanceTimersByTime(20 * minute);
  expect(now(holding)).toEqual(["goes on", "goes on"]);
});

test("go on: without a connection the last known rules hold until their limit, then nothing is held", () => {
  const orders = ordersThat("go on");
  orders.apply(rules);
  orders.disconnected();
  vi.advanceTimersByTime(10 * minute - 1);
  // Attempts that fail in the meantime prolong nothing.
  orders.disconnected();
  expect(now(orders)).toEqual(["brake br_1", "goes on"]);
  vi.advanceTimersByTime(1);
  expect(orders.mode).toBe("open");
  expect(now(orders)).toEqual(["goes on", "goes on"]);
});

test("hold: the last known rules, then everything is held, until that has a limit too", () => {
  const orders = ordersThat("hold");
  orders.apply(rules);
  orders.disconnected();
  expect(now(orders)).toEqual(["brake br_1", "goes on"]);
  vi.advanceTimersByTime(10 * minute);
  expect(now(orders)).toEqual(["no connection to it", "no connection to it"]);
  vi.advanceTimersByTime(20 * minute);
  expect(now(orders)).toEqual(["goes on", "goes on"]);
});

test("a connection that is back ends every limit, and the new rules hold", () => {
  const orders = ordersThat("hold");
  orders.apply(rules);
  orders.disconnected();
  vi.advanceTimersByTime(15 * minute);
  orders.apply(new Rules(2n, []));
  expect(now(orders)).toEqual(["goes on", "goes on"]);
  vi.advanceTimersByTime(60 * minute);
  expect(orders.mode).toBe("connected");
});

test("a limit of months is kept, though no timer waits for so long", () => {
  const orders = new Orders({ whenDisconnected: "go on", staleLimitMs: 60 * 24 * 60 * minute, holdLimitMs: 0 });
  orders.apply(rules);
  orders.disconnected();
  vi.advanceTimersByTime(59 * 24 * 60 * minute);
  expect(orders.mode).toBe("stale");
  vi.advanceTimersByTime(24 * 60 * minute);
  expect(orders.mode).toBe("open");
});

test("every change has another version, and is told", () => {
  const orders = ordersThat("go on");
  const versions: number[] = [];
  orders.onChange(() => versions.push(orders.version));
  orders.apply(rules);
  orders.disconnected();
  vi.advanceTimersByTime(10 * minute);
  expect(new Set(versions).size).toBe(3);
});
