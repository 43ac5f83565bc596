import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type HaltReceipt,
  HaltReceiptSchema,
  HoldSchema,
  type Hold as HoldView,
  HaltReceipt_OnResume as OnResume,
  Workflow_Status as Status,
  InFlightStep_Outcome as StepOutcome,
  type Workflow,
  WorkflowSchema,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { EngineWorkflow, Observation } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import type { Halt, Held, Hold } from "../store/brake.ts";
import { expireTimeOf } from "./expiry.ts";
import { holds } from "./halt.ts";
import { statusOf } from "./status.ts";

/**
 * A workflow as callers see it: what the engine shows, and the holds on it that are not settled. `seen` adds the steps, where
 * one workflow is asked for.
 */
export function viewOf(engine: string, shown: EngineWorkflow, all: readonly Held[], seen?: Observation): Workflow {
  const status = statusOf(seen?.status ?? shown.status, all);
  const holding = all.filter(holds).reverse();
  const external = shown.status === "paused" && all.every(({ hold }) => hold.halt.foundPaused);
  const newest = holding[0];
  const workflow = create(WorkflowSchema, {
    workflowId: formatWorkflowId(engine, shown.id),
    engine,
    type: shown.type,
    name: shown.name,
    status,
    labels: { ...shown.labels },
    owner: shown.labels.owner ?? "",
    currentStep: seen?.steps.at(-1)?.name ?? "",
    completedSteps: seen?.steps.filter((step) => step.succeeded).length ?? 0,
    createTime: timestampFromDate(shown.createTime),
    updateTime: timestampFromDate(shown.updateTime),
    errorMessage: shown.errorMessage,
    parentWorkflowId: shown.parentId === undefined ? "" : formatWorkflowId(engine, shown.parentId),
    holds: [...holding.map(holdOf), ...(external ? [create(HoldSchema, { external: true })] : [])],
    statusDetail: detailOf(status, shown, seen, newest, external),
  });
  if (shown.startTime) workflow.startTime = timestampFromDate(shown.startTime);
  if (shown.endTime) workflow.endTime = timestampFromDate(shown.endTime);
  if (shown.dueTime) workflow.dueTime = timestampFromDate(shown.dueTime);
  if (newest) workflow.haltReceipt = receiptOf(newest.hold);
  workflow.etag = etagOf(workflow);
  return workflow;
}

/** What is known of one workflow's halt. */
export function receiptOf({ halt }: Hold): HaltReceipt {
  const receipt = create(HaltReceiptSchema, {
    requestTime: timestampFromMs(halt.requestTime),
    onResume: onResumeOf(halt),
    stepsInFlight: (halt.steps?.inFlight ?? []).map((step) => ({
      name: step.name,
      startTime: timestampFromMs(step.startTime),
      outcome: step.outcome === "finished" ? StepOutcome.FINISHED : StepOutcome.RERUNS,
    })),
  });
  if (halt.acceptTime !== undefined) receipt.acceptTime = timestampFromMs(halt.acceptTime);
  if (halt.steps !== undefined) receipt.stepsStartedAfterAccept = halt.steps.startedAfterAccept;
  if (halt.standstillTime !== undefined) {
    receipt.standstillTime = timestampFromMs(halt.standstillTime);
    receipt.timeToStandstill = durationFromMs(halt.standstillTime - halt.requestTime);
  }
  return receipt;
}

function onResumeOf({ steps }: Halt): OnResume {
  if (steps === undefined) return OnResume.ON_RESUME_UNSPECIFIED;
  const reruns = steps.hidesStep || steps.inFlight.some((step) => step.outcome === "reruns");
  return reruns ? OnResume.MAY_RERUN : OnResume.KEPT;
}

function holdOf({ brake, hold }: Held): HoldView {
  const result = create(HoldSchema, {
    brakeId: brake.brakeId,
    reason: brake.reason,
    engagedBy: brake.engagedBy,
    engageTime: timestampFromMs(brake.engageTime ?? hold.catchTime),
    emergency: brake.emergency,
  });
  const expireTime = expireTimeOf(brake);
  if (expireTime !== undefined) result.expireTime = timestampFromMs(expireTime);
  return result;
}

function detailOf(
  status: Status,
  shown: EngineWorkflow,
  seen: Observation | undefined,
  newest: Held | undefined,
  external: boolean,
): string {
  if (status === Status.PAUSING) {
    if (shown.status === "pending") {
      const due = shown.dueTime ? ` (due ${shown.dueTime.toISOString()})` : "";
      return `not begun yet${due}: the engine cannot halt it before it begins, so it is halted the moment it does`;
    }
    if (shown.status === "silent") return `held at its next step, if there is one: ${shown.phase}`;
    const running = seen?.steps.filter((step) => step.endTime === undefined).map((step) => step.name) ?? [];
    return running.length > 0
      ? `waiting for the step in flight to end: ${running.join(", ").slice(0, 200)}`
      : `halting (the engine shows it as ${shown.phase})`;
  }
  const cutOff = newest?.hold.halt.steps?.inFlight.filter((step) => step.outcome === "reruns") ?? [];
  if (status === Status.PAUSED && cutOff.length > 0) {
    const names = cutOff.map((step) => step.name).join(", ");
    return `cut off or between two attempts: ${names.slice(0, 200)}; a worker may still be carrying it out, and it runs again on resume`;
  }
  if (status === Status.PAUSED && newest?.hold.halt.steps?.hidesStep) {
    return "cut off a moment after it had moved: a worker may be carrying out a step that the engine never heard of, and it runs again on resume";
  }
  if (status === Status.PAUSED && external) return "paused in the engine's own tool, not by a brake";
  if (status === Status.RESUMING) return "released; not yet seen to move";
  if (shown.status === "silent") return shown.phase;
  if (shown.phase === "backing-off") return "backing off before the next attempt";
  if (shown.phase === "suspended") return "waiting for a timer, a child or a signal";
  return "";
}

function etagOf(workflow: Workflow): string {
  const acted = [workflow.workflowId, workflow.status, ...workflow.holds.map((hold) => hold.brakeId)];
  return createHash("sha256").update(JSON.stringify(acted)).digest("base64url").slice(0, 22);
}
