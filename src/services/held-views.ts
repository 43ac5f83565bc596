import { create } from "@bufbuild/protobuf";
import { type Workflow, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Brakes } from "../brakes/brakes.ts";
import { openByIds } from "../brakes/open-by-ids.ts";
import type { Outages } from "../brakes/outages.ts";
import { statusOf } from "../brakes/status.ts";
import type { Workflows } from "../brakes/workflows.ts";
import { isOutage, within } from "../engines/outage.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import type { Hold } from "../store/brake.ts";

/** An engine that has not said within this time how its workflows stand is taken by what was known last, ms. */
const answerWithinMs = 5_000;

/**
 * The open workflows of the holds that are not settled, as callers see them: as their engines show them, and where one does
 * not answer (or is no longer configured) as they were when they were caught, for a release must not wait for it. Throws ENGINE_UNAVAILABLE where that is
 * not known either.
 */
export async function heldViews(
  deps: {
    readonly brakes: Brakes;
    readonly engines: EngineRegistry;
    readonly workflows: Workflows;
    readonly outages: Outages;
  },
  all: readonly Hold[],
  signal: AbortSignal,
): Promise<Workflow[]> {
  const { brakes, engines, workflows, outages } = deps;
  const open = all.filter((hold) => !hold.halt.settled);
  const byEngine = Map.groupBy(open, ({ workflowId }) => parseWorkflowId(workflowId)?.engine ?? "");
  const views = [...byEngine].map(async ([name, holds]) => {
    const ids = holds.map(({ workflowId }) => parseWorkflowId(workflowId)?.id ?? "");
    try {
      const engine = engines.named(name);
      const rows = await within(name, answerWithinMs, signal, (bounded) => openByIds(engine, ids, bounded));
      return rows.map((row) => workflows.view(name, row));
    } catch (error) {
      if (isOutage(error)) outages.began(name, error.message);
      else if (!isUnknown(error)) throw error;
      return holds.map((hold) => lastKnown(brakes, name, hold) ?? raise(error));
    }
  });
  return (await Promise.all(views)).flat();
}

/** All of it that policy asks about; undefined where an earlier version did not keep it. */
function lastKnown(brakes: Brakes, engine: string, { workflowId, traits, name, halt }: Hold): Workflow | undefined {
  if (traits === undefined || name === undefined) return undefined;
  const { type, labels } = traits;
  const shown = halt.standstillTime === undefined ? "running" : "paused";
  return create(WorkflowSchema, {
    ...{ workflowId, engine, type, name },
    labels: { ...labels },
    owner: labels.owner ?? "",
    status: statusOf(shown, brakes.on(workflowId)),
  });
}

/** True where the engine is no longer configured. */
function isUnknown(error: unknown): error is MissionControlError {
  return error instanceof MissionControlError && error.reason === "UNKNOWN_ENGINE";
}

function raise(error: Error): never {
  throw error;
}
