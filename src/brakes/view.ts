import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type HaltReceipt,
  HaltReceiptSchema,
  type Hold,
  HoldSchema,
  HaltReceipt_OnResume as OnResume,
  Workflow_Status as Status,
  InFlightStep_Outcome as StepOutcome,
  type Workflow,
  WorkflowSchema,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { EngineWorkflow, Observation } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import type { Brake } from "../store/brake.ts";
import { isEngaged } from "./brakes.ts";
import { statusOf } from "./status.ts";

/**
 * A workflow as callers see it: what the engine shows, and the brakes on it. `seen` adds the steps, where one workflow is
 * asked for.
 */
export function viewOf(engine: string, shown: EngineWorkflow, brakes: readonly Brake[], seen?: Observation): Workflow {
  const status = statusOf(seen?.status ?? shown.status, brakes);
  const engaged = brakes.filter(isEngaged).reverse();
  const external = shown.status === "paused" && brakes.every((brake) => brake.halt.foundPaused);
  const newest = engaged[0];
  const workflow = create(WorkflowSchema, {
    workflowId: formatWorkflowId(engine, shown.id),
    engine,
    type: shown.type,
    name: shown.name,
    status,
    labels: { ...shown.labels },
    owner: shown.labels.owner ?? "",
    currentStep: seen?.currentStep ?? "",
    completedSteps: seen?.completedSteps ?? 0,
    createTime: timestampFromDate(shown.createTime),
    updateTime: timestampFromDate(shown.updateTime),
    errorMessage: shown.errorMessage,
    parentWorkflowId: shown.parentId === undefined ? "" : formatWorkflowId(engine, shown.parentId),
    holds: [...engaged.map(holdOf), ...(external ? [create(HoldSchema, { external: true })] : [])],
    statusDetail: detailOf(status, shown, newest, external),
  });
  if (shown.startTime) workflow.startTime = timestampFromDate(shown.startTime);
  if (shown.endTime) workflow.endTime = timestampFromDate(shown.endTime);
  if (shown.dueTime) workflow.dueTime = timestampFromDate(shown.dueTime);
  if (newest) workflow.haltReceipt = receiptOf(newest);
  workflow.etag = etagOf(workflow);
  return workflow;
}

/** What is known of a brake's halt. */
export function receiptOf(brake: Brake): HaltReceipt {
  const { halt } = brake;
  const receipt = create(HaltReceiptSchema, {
    requestTime: timestampFromMs(brake.engageTime),
    onResume: onResumeOf(brake),
    stepsInFlight: halt.stepsInFlight.map((step) => ({
      name: step.name,
      startTime: timestampFromMs(step.startTime),
      outcome: stepOutcomes[step.outcome],
    })),
  });
  if (halt.acceptTime !== undefined) receipt.acceptTime = timestampFromMs(halt.acceptTime);
  if (halt.stepsStartedAfterAccept !== undefined) receipt.stepsStartedAfterAccept = halt.stepsStartedAfterAccept;
  if (halt.standstillTime !== undefined) {
    receipt.standstillTime = timestampFromMs(halt.standstillTime);
    receipt.timeToStandstill = durationFromMs(halt.standstillTime - brake.engageTime);
  }
  return receipt;
}

const stepOutcomes = {
  inFlight: StepOutcome.OUTCOME_UNSPECIFIED,
  finished: StepOutcome.FINISHED,
  reruns: StepOutcome.RERUNS,
} as const;

function onResumeOf({ halt }: Brake): OnResume {
  if (halt.standstillTime === undefined) return OnResume.ON_RESUME_UNSPECIFIED;
  return halt.stepsInFlight.some((step) => step.outcome === "reruns") ? OnResume.MAY_RERUN : OnResume.KEPT;
}

function holdOf(brake: Brake): Hold {
  const hold = create(HoldSchema, {
    brakeId: brake.brakeId,
    reason: brake.reason,
    engagedBy: brake.engagedBy,
    engageTime: timestampFromMs(brake.engageTime),
    emergency: brake.emergency,
  });
  if (brake.expireTime !== undefined) hold.expireTime = timestampFromMs(brake.expireTime);
  return hold;
}

function detailOf(status: Status, shown: EngineWorkflow, brake: Brake | undefined, external: boolean): string {
  if (status === Status.PAUSING) {
    if (shown.status === "pending") {
      const due = shown.dueTime ? ` (due ${shown.dueTime.toISOString()})` : "";
      return `not begun yet${due}: the engine cannot halt it before it begins, so it is halted the moment it does`;
    }
    const running =
      brake?.halt.stepsInFlight.filter((step) => step.outcome === "inFlight").map((step) => step.name) ?? [];
    return running.length > 0
      ? `waiting for the step in flight to end: ${running.join(", ").slice(0, 200)}`
      : `halting (the engine shows it as ${shown.phase})`;
  }
  if (status === Status.PAUSED && external) return "paused in the engine's own tool, not by a brake";
  if (status === Status.RESUMING) return "released; not yet seen to move";
  if (shown.phase === "backing-off") return "backing off before the next attempt";
  if (shown.phase === "suspended") return "waiting for a timer, a child or a signal";
  return "";
}

/** Changes with the status and the holds: what a control request acts on. Not with every step: a brake must not lose races. */
function etagOf(workflow: Workflow): string {
  const acted = [workflow.workflowId, workflow.status, ...workflow.holds.map((hold) => hold.brakeId)];
  return createHash("sha256").update(JSON.stringify(acted)).digest("base64url").slice(0, 22);
}
