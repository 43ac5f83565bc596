import { expect } from "vitest";
import {
  type HaltReceipt,
  HaltReceipt_OnResume as OnResume,
  InFlightStep_Outcome as StepOutcome,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import type { StepRecorder } from "../../fixture/step-recorder.ts";

/** One step that may run again, whichever it is. */
export const anyStep = "?";

/** The steps that a receipt tells to run again on resume. */
export function toldToRerun(receipt: HaltReceipt | undefined): string[] {
  if (receipt?.onResume !== OnResume.MAY_RERUN) return [];
  const named = receipt.stepsInFlight.filter((step) => step.outcome === StepOutcome.RERUNS).map(({ name }) => name);
  return named.length > 0 ? named : [anyStep];
}

export const stepNames = (count: number) => Array.from({ length: count }, (_, n) => `step-${n + 1}`);

/**
 * Asserts that all of step-1 to step-n ran to their ends, and each exactly once; but for those that were told to run again,
 * which may have run once more for each time that it was told.
 */
export function expectRan(steps: StepRecorder, id: string, count: number, told: readonly string[] = []): void {
  const names = (event: "start" | "end") =>
    steps
      .of(id)
      .filter((one) => one.event === event)
      .map((one) => one.step);
  expect([...new Set(names("end"))].toSorted()).toEqual(stepNames(count).toSorted());
  expect(names("end").toSorted()).toEqual(names("start").toSorted());
  let anyOnes = told.filter((name) => name === anyStep).length;
  for (const step of stepNames(count)) {
    const again = names("start").filter((name) => name === step).length - 1;
    const more = Math.max(0, again - told.filter((name) => name === step).length);
    const unexplained = Math.max(0, more - anyOnes);
    anyOnes -= more - unexplained;
    expect({ id, step, unexplained }, `told to run again: ${told.join(", ")}`).toEqual({ id, step, unexplained: 0 });
  }
}
