import type { EngineWorkflow } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import type { Brakes } from "./brakes.ts";
import type { Catching } from "./catch.ts";
import { holds } from "./halt.ts";

/**
 * Whether a workflow is to take no further step, for a runtime that asks at that moment: because a brake has caught it, or
 * because one that stands matches it and is about to catch it.
 */
export function isHeldNow(brakes: Brakes, catching: Catching, engine: string, workflow: EngineWorkflow): boolean {
  if (brakes.count === 0) return false;
  if (brakes.on(formatWorkflowId(engine, workflow.id)).some(holds)) return true;
  const parentId = workflow.parentId === undefined ? "" : formatWorkflowId(engine, workflow.parentId);
  return catching.engaged().some((brake) => {
    const selector = catching.selector(brake);
    if (selector.matches(engine, workflow)) return true;
    const parent = brake.includeDescendants ? brakes.hold(brake.brakeId, parentId) : undefined;
    return parent !== undefined && holds({ brake, hold: parent }) && selector.admits(engine, workflow);
  });
}
