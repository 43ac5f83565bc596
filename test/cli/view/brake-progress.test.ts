import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { Brake_State as State } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { createTerminal } from "../../../src/cli/terminal.ts";
import { type BrakeMoment, brakeProgress } from "../../../src/cli/view/brake-progress.ts";
import { displayWidth } from "../../../src/cli/view/text.ts";
import { brake, halting, requestMs } from "../brake.ts";

const stdout = { isTTY: true, columns: 80 } as NodeJS.WriteStream;
const view = (unicode = true) =>
  brakeProgress(createTerminal({ stdout, stderr: stdout, env: unicode ? { LANG: "C.UTF-8" } : {}, color: false }));
const moment = (more: Parameters<typeof brake>[0], elapsedMs?: number): BrakeMoment => ({
  brake: brake(more),
  at: performance.now(),
  elapsedMs,
  rate: 2.5,
});

test.each([20, 40, 79, 119, 300])("on %i columns the bar is no wider, and the count is there", (columns) => {
  const bar = view().bar(moment({ receipt: { ...halting, matched: 10_000, standing: 4_321 } }, 61_000), columns);
  expect(displayWidth(bar)).toBeLessThanOrEqual(columns);
  expect(bar).toContain("4321/10000 standing");
});

test("on a wide screen all is there, on a narrow one the least important is left out", () => {
  const text = (columns: number) => view(false).bar(moment({ receipt: halting }, 61_000), columns);
  expect(text(119)).toMatch(/^#+\.+ {2}5\/12 standing {2}6 halting {2}1 pending {2}gates 1\/2 {2}1m01s {2}2\.5\/s$/);
  expect(text(50)).toMatch(/^#+\.+ {2}5\/12 standing {2}6 halting {2}1 pending$/);
});

test("a line of a log says the same, with the state", () => {
  expect(view().line(moment({ receipt: halting }, 1_240))).toBe(
    "ENGAGED  5/12 standing, 6 halting, 1 pending, gates 1/2, 1.2s, 2.5/s",
  );
});

test("an engine that is not reached stands before all else that is not the count", () => {
  const since = timestampFromMs(requestMs);
  const unreachableEngines = [{ engine: "restate-eu", since, lastKnown: 41 }, { engine: "far" }];
  expect(view().line(moment({ receipt: { ...halting, unreachableEngines } }))).toMatch(
    /^ENGAGED {2}5\/12 standing, restate-eu unreachable since 08:35:12Z; 41 last known to match, far unreachable; what matches there is not known yet, 6 halting/,
  );
});

test("a staged release shows its stage", () => {
  const release = { released: 4, remaining: 8, staged: { percent: 25 } };
  expect(view().line(moment({ state: State.RELEASED, release }))).toBe(
    "RELEASED  4/12 released, 8 remaining, stage 2 of 4, 2.5/s",
  );
});

test("a release that held again shows the standstill", () => {
  const release = { released: 4, remaining: 8, haltedBecause: "1 failed" };
  expect(view().line(moment({ release, receipt: halting }))).toMatch(/^ENGAGED {2}5\/12 standing/);
});

test("a brake that awaits approval says that it holds nothing", () => {
  const waiting = moment({ state: State.AWAITING_APPROVAL, approval: { matched: 12 } });
  expect(view().line(waiting)).toBe("AWAITING_APPROVAL  holds nothing yet; 12 matched when it was asked for");
});
