import { create } from "@bufbuild/protobuf";
import { type Workflow, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Brakes } from "../brakes/brakes.ts";
import { openByIds } from "../brakes/open-by-ids.ts";
import type { Outages } from "../brakes/outages.ts";
import { statusOf } from "../brakes/status.ts";
import type { EngineStatus } from "../engines/engine.ts";
import { isOutage, within } from "../engines/outage.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import type { Hold, Traits } from "../store/brake.ts";

/** An engine that has not said within this time how its workflows stand is taken by what was known last, ms. */
const answerWithinMs = 5_000;

/**
 * The open workflows of the holds that are not settled, as far as policy asks about them: as their engines show them, and where
 * one does not answer (or is no longer configured) as they were when they were caught, for a release must not wait for it. Throws
 * ENGINE_UNAVAILABLE where that is not known either.
 */
export async function heldViews(
  deps: {
    readonly brakes: Brakes;
    readonly engines: EngineRegistry;
    readonly outages: Outages;
  },
  all: readonly Hold[],
  signal: AbortSignal,
): Promise<Workflow[]> {
  const { brakes, engines, outages } = deps;
  const open = all.filter((hold) => !hold.halt.settled);
  const byEngine = Map.groupBy(open, ({ workflowId }) => parseWorkflowId(workflowId)?.engine ?? "");
  const views = [...byEngine].map(async ([name, holds]) => {
    const ids = holds.map(({ workflowId }) => parseWorkflowId(workflowId)?.id ?? "");
    try {
      const engine = engines.named(name);
      const rows = await within(name, answerWithinMs, signal, (bounded) => openByIds(engine, ids, bounded));
      return rows.map(({ id, status, ...row }) => asPolicyAsks(brakes, name, formatWorkflowId(name, id), row, status));
    } catch (error) {
      if (isOutage(error)) outages.began(name, error.message);
      else if (!isUnknown(error)) throw error;
      return holds.map((hold) => lastKnown(brakes, name, hold) ?? raise(error));
    }
  });
  return (await Promise.all(views)).flat();
}

/** As it was when it was caught; undefined where an earlier version did not keep it. */
function lastKnown(brakes: Brakes, engine: string, { workflowId, traits, name, halt }: Hold): Workflow | undefined {
  if (traits === undefined || name === undefined) return undefined;
  const shown = halt.standstillTime === undefined ? "running" : "paused";
  return asPolicyAsks(brakes, engine, workflowId, { ...traits, name }, shown);
}

/** All of it that policy asks about: the rest of ten thousand is not made. */
function asPolicyAsks(
  brakes: Brakes,
  engine: string,
  workflowId: string,
  { type, name, labels }: Traits & { readonly name: string },
  shown: EngineStatus,
): Workflow {
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
