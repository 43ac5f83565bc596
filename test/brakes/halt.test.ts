import { expect, test } from "vitest";
import { afterRelease, beginHalt, drifted, haltedSteps, released, standstill } from "../../src/brakes/halt.ts";
import { held, seen, step } from "./brake.ts";

const halt = (about: Parameters<typeof held>[0] = {}) => held(about).hold.halt;
const paused = seen({ status: "paused", phase: "paused" });

test("a pause that is there before the first brake is somebody else's", () => {
  expect(beginHalt("paused", [], 1_000).foundPaused).toBe(true);
});

test("a pause that a brake of ours made is not somebody else's for the next brake", () => {
  expect(beginHalt("paused", [held()], 1_000).foundPaused).toBe(false);
});

test("a pause that the brakes before found is still somebody else's for the next brake", () => {
  expect(beginHalt("paused", [held({ halt: { foundPaused: true } })], 1_000).foundPaused).toBe(true);
});

test("the receipt tells which steps in flight finished and which run again", () => {
  const steps = [step("done before", 100, 900), step("a", 500, 1_200), step("b", 600)];
  expect(haltedSteps(halt(), seen({ steps })).inFlight.map(({ name, outcome }) => [name, outcome])).toEqual([
    ["a", "finished"],
    ["b", "reruns"],
  ]);
});

test("a step that began after the request and was cut off is in the receipt", () => {
  const { inFlight } = haltedSteps(halt(), seen({ steps: [step("late", 1_100)] }));
  expect(inFlight).toMatchObject([{ name: "late", outcome: "reruns" }]);
});

test("a step that began between the request and the acceptance is told as well", () => {
  const steps = [step("between", 1_200, 1_300), step("after", 1_600, 1_700)];
  const told = haltedSteps(halt({ halt: { acceptTime: 1_500 } }), seen({ steps }));
  expect(told.inFlight).toMatchObject([{ name: "between", outcome: "finished" }]);
  expect(told.startedAfterAccept).toBe(1);
});

test("steps that started after the engine accepted are counted from its journal", () => {
  const steps = [step("a", 900, 950), step("b", 1_400, 1_450), step("c", 1_600, 1_650)];
  expect(haltedSteps(halt({ halt: { acceptTime: 1_500 } }), seen({ steps })).startedAfterAccept).toBe(1);
});

test("where the acceptance was not noted, steps are counted from the request, never fewer", () => {
  const steps = [step("a", 900, 950), step("b", 1_400, 1_450), step("c", 1_600, 1_650)];
  expect(haltedSteps(halt(), seen({ steps })).startedAfterAccept).toBe(2);
});

test("after a drift the pause is ours to lift, whoever had paused it before, and the halt begins anew", () => {
  const before = halt({ halt: { foundPaused: true, standstillTime: 2_000, acceptTime: 1_500 } });
  expect(drifted(before, 5_000)).toMatchObject({
    foundPaused: false,
    requestTime: 5_000,
    acceptTime: undefined,
    standstillTime: undefined,
    pausePending: true,
  });
});

test("released while it stands paused: the pause is lifted", () => {
  const after = released(standstill(halt(), 2_000), "paused", 3_000);
  expect(afterRelease(after, paused, 3_000)).toBe("release");
  expect(afterRelease(after, seen(), 3_000)).toBe("settle");
});

test("released while a step is in flight: watched until the pause that was asked for has come true", () => {
  const long = step("long", 500);
  const after = released(halt(), "running", 3_000);
  expect(afterRelease(after, seen({ steps: [long] }), 60_000)).toBe("watch");
  expect(afterRelease(after, paused, 60_000)).toBe("release");
  const next = seen({ steps: [step("long", 500, 3_400), step("next", 3_500)] });
  expect(afterRelease(after, next, 60_000)).toBe("watch");
  const steps = [step("long", 500, 3_400), step("next", 3_500, 4_000), step("third", 4_001)];
  expect(afterRelease(after, seen({ steps }), 60_000)).toBe("settle");
});

test("released with no step in flight: watched for a moment, then free", () => {
  const after = released(halt(), "running", 3_000);
  expect(afterRelease(after, seen(), 3_100)).toBe("watch");
  expect(afterRelease(after, seen(), 60_000)).toBe("settle");
});

test("somebody else's pause is left alone on release", () => {
  const after = released(halt({ halt: { foundPaused: true } }), "paused", 3_000);
  expect(afterRelease(after, paused, 3_000)).toBe("settle");
});

test("a pause found that was gone at release is ours if it comes back", () => {
  const after = released(halt({ halt: { foundPaused: true } }), "running", 3_000);
  expect(afterRelease(after, paused, 3_000)).toBe("release");
});
