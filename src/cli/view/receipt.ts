import {
  type HaltReceipt,
  HaltReceipt_OnResume,
  type InFlightStep,
  InFlightStep_Outcome,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { clock, offset, preciseClock } from "./time.ts";

/** A halt receipt in words: when it was asked for, when it stood, and what becomes of what was under way. */
export function receiptFields(receipt: HaltReceipt): [label: string, value: string | undefined][] {
  const { requestTime, acceptTime, standstillTime } = receipt;
  const since = (time: typeof requestTime, what: string, notYet: string) =>
    time === undefined
      ? notYet
      : `${preciseClock(time)} ${requestTime ? `(${offset(requestTime, time)})` : ""} ${what}`;
  return [
    ["requested", requestTime && `${preciseClock(requestTime)} the brake was durably engaged`],
    ["accepted", since(acceptTime, "the engine took the order", "not yet by the engine")],
    [
      "standstill",
      standstillTime ? since(standstillTime, "seen to stand, with no step in flight", "") : "not seen yet",
    ],
    ["in flight", receipt.stepsInFlight.map(describeStep).join("\n") || "no step when the brake was engaged"],
    [
      "steps after",
      receipt.stepsStartedAfterAccept === undefined
        ? undefined
        : `${receipt.stepsStartedAfterAccept} started after the engine accepted`,
    ],
    ["on resume", onResume[receipt.onResume]],
  ];
}

const onResume: Readonly<Record<HaltReceipt_OnResume, string | undefined>> = {
  [HaltReceipt_OnResume.ON_RESUME_UNSPECIFIED]: undefined,
  [HaltReceipt_OnResume.KEPT]: "goes on with its next step; nothing was cut off",
  [HaltReceipt_OnResume.MAY_RERUN]: "MAY RUN A STEP AGAIN: one was cut off, or was between two attempts",
};

function describeStep(step: InFlightStep): string {
  const became: Readonly<Record<InFlightStep_Outcome, string>> = {
    [InFlightStep_Outcome.OUTCOME_UNSPECIFIED]: "still in flight",
    [InFlightStep_Outcome.FINISHED]: "finished, its result is kept",
    [InFlightStep_Outcome.RERUNS]: "did not finish, RUNS AGAIN on resume",
  };
  const began = step.startTime ? ` (began ${clock(step.startTime)})` : "";
  return `${step.name || "a step without a name"}${began}: ${became[step.outcome]}`;
}
