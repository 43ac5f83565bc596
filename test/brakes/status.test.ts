import { expect, test } from "vitest";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { shownIn, statusName, statusOf } from "../../src/brakes/status.ts";
import type { EngineStatus } from "../../src/engines/engine.ts";
import type { Held } from "../../src/store/brake.ts";
import { held } from "./brake.ts";

const standing = held({ halt: { standstillTime: 2_000, pausePending: false } });
const halting = held();
const releasing = held({ brake: { state: "RELEASED" } });
const release = { by: "bob", reason: "", time: 1, entryId: "", staged: undefined, stageTime: 1, haltedBecause: "" };
const letGo = held({ brake: { release: { ...release, letGo: 1 } }, halt: { standstillTime: 2_000 } });
const notLetGo = held({
  brake: { release: { ...release, letGo: 1 } },
  hold: { order: 1 },
  halt: { standstillTime: 2_000 },
});

test.each<[string, EngineStatus, Held[], number]>([
  ["held and shown as paused, but not read back yet, is PAUSING", "paused", [halting], Status.PAUSING],
  ["held, read back, and shown as paused is PAUSED", "paused", [standing], Status.PAUSED],
  ["held, read back once, but running now is PAUSING again", "running", [standing], Status.PAUSING],
  ["held before it began is PAUSING, not PAUSED", "pending", [halting], Status.PAUSING],
  ["one of two brakes having seen it stand is enough", "paused", [standing, halting], Status.PAUSED],
  ["released and not seen to move is RESUMING", "paused", [releasing], Status.RESUMING],
  ["released while the pause may still come true is RESUMING", "running", [releasing], Status.RESUMING],
  ["an engaged brake beats a released one", "paused", [releasing, standing], Status.PAUSED],
  ["let go by a stage of a release is RESUMING", "paused", [letGo], Status.RESUMING],
  ["not let go yet by a staged release is PAUSED", "paused", [notLetGo], Status.PAUSED],
  ["paused by somebody else is PAUSED", "paused", [], Status.PAUSED],
  ["running and free is RUNNING", "running", [], Status.RUNNING],
  ["queued and free is PENDING", "pending", [], Status.PENDING],
  ["ended while held is ended", "completed", [standing], Status.COMPLETED],
  ["cancelled while held is CANCELED", "canceled", [halting], Status.CANCELED],
])("%s", (_fact, shown, brakes, status) => {
  expect(statusName(statusOf(shown, brakes))).toBe(statusName(status as Status));
});

test("whatever a workflow's status is, a list by that status asks the engine for where it is shown", () => {
  const shown: EngineStatus[] = ["pending", "running", "paused", "completed", "failed", "canceled", "rolledBack"];
  for (const one of shown) {
    for (const brakes of [[], [halting], [standing], [releasing]]) {
      expect(shownIn(statusOf(one, brakes))).toContain(one);
    }
  }
});
