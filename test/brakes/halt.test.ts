import { expect, test } from "vitest";
import { afterRelease, beginHalt, drifted, released, standstill } from "../../src/brakes/halt.ts";
import { aBrake, seen } from "./brake.ts";

const step = (index: number, name: string, at = 500) => ({ index, name, startTime: new Date(at) });

test("a pause that is there before the first brake is somebody else's", () => {
  expect(beginHalt(seen({ status: "paused" }), []).foundPaused).toBe(true);
});

test("a pause that a brake of ours made is not somebody else's for the next brake", () => {
  expect(beginHalt(seen({ status: "paused" }), [aBrake()]).foundPaused).toBe(false);
});

test("a pause that the brakes before found is still somebody else's for the next brake", () => {
  expect(beginHalt(seen({ status: "paused" }), [aBrake({ halt: { foundPaused: true } })]).foundPaused).toBe(true);
});

test("the receipt tells which steps in flight finished and which run again", () => {
  const begun = beginHalt(seen({ inFlight: [step(1, "a"), step(2, "b")], stepsStarted: 2 }), []);
  const stood = standstill(aBrake({ halt: begun }), seen({ status: "paused", inFlight: [step(2, "b")] }), 3_000);
  expect(stood.stepsInFlight.map(({ name, outcome }) => [name, outcome])).toEqual([
    ["a", "finished"],
    ["b", "reruns"],
  ]);
});

test("a step that began after the engagement and was cut off is in the receipt", () => {
  const stood = standstill(aBrake(), seen({ status: "paused", inFlight: [step(7, "late")] }), 3_000);
  expect(stood.stepsInFlight).toMatchObject([{ name: "late", outcome: "reruns" }]);
});

test("steps that started after the engine accepted are counted from its journal", () => {
  const times = [900, 1_400, 1_600].map((at) => new Date(at));
  const accepted = aBrake({ halt: { acceptTime: 1_500 } });
  expect(standstill(accepted, seen({ status: "paused", stepTimes: times }), 3_000).stepsStartedAfterAccept).toBe(1);
});

test("where the acceptance was not noted, steps are counted from the engagement, never fewer", () => {
  const times = [900, 1_400, 1_600].map((at) => new Date(at));
  expect(standstill(aBrake(), seen({ status: "paused", stepTimes: times }), 3_000).stepsStartedAfterAccept).toBe(2);
});

test("after a drift the pause is ours to lift, whoever had paused it before", () => {
  const halt = drifted(aBrake({ halt: { foundPaused: true, standstillTime: 2_000 } }).halt);
  expect(halt).toMatchObject({ foundPaused: false, standstillTime: undefined, pausePending: true });
});

test("released while it stands paused: the pause is lifted", () => {
  const halt = released(
    aBrake({ halt: { standstillTime: 2_000, pausePending: false } }).halt,
    seen({ status: "paused" }),
  );
  expect(afterRelease(halt, "paused", seen({ status: "paused" }), 0)).toBe("release");
  expect(afterRelease(halt, "running", seen(), 0)).toBe("settle");
});

test("released while a step is in flight: watched until the pause that was asked for has come true", () => {
  const running = seen({ inFlight: [step(1, "long")], stepsStarted: 1 });
  const halt = released(aBrake().halt, running);
  expect(afterRelease(halt, "running", running, 60_000)).toBe("watch");
  expect(afterRelease(halt, "paused", seen({ status: "paused" }), 60_000)).toBe("release");
  expect(afterRelease(halt, "running", seen({ inFlight: [step(2, "next")], stepsStarted: 2 }), 60_000)).toBe("settle");
});

test("released with no step in flight: watched for a moment, then free", () => {
  const halt = released(aBrake().halt, seen());
  expect(afterRelease(halt, "running", seen(), 100)).toBe("watch");
  expect(afterRelease(halt, "running", seen(), 60_000)).toBe("settle");
});

test("somebody else's pause is left alone on release", () => {
  const halt = released(aBrake({ halt: { foundPaused: true } }).halt, seen({ status: "paused" }));
  expect(afterRelease(halt, "paused", seen({ status: "paused" }), 0)).toBe("settle");
});

test("a pause found that was gone at release is ours if it comes back", () => {
  const halt = released(aBrake({ halt: { foundPaused: true } }).halt, seen());
  expect(afterRelease(halt, "paused", seen({ status: "paused" }), 0)).toBe("release");
});
