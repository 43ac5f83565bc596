import { create } from "@bufbuild/protobuf";
import { type NotLetGo, NotLetGoSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { Brakes } from "./brakes.ts";
import { holds } from "./halt.ts";
import type { Outages } from "./outages.ts";

/** Workflows that are named for one engine. */
const named = 100;

/**
 * What a brake cannot let go of at the moment, by the engines that do not answer: not what others hold as well, nor what it is
 * not to let go of yet.
 */
export function notLetGo(
  { brakes, outages }: { readonly brakes: Brakes; readonly outages: Outages },
  brakeId: string,
): NotLetGo[] {
  const brake = brakes.active(brakeId);
  if (brake === undefined) return [];
  const all = brakes.holdsOf(brakeId);
  return outages.of({ brake, holds: all, whole: true }).flatMap((outage) => {
    const ids = all
      .filter((hold) => !hold.halt.settled && !brakes.on(hold.workflowId).some(holds))
      .map(({ workflowId }) => workflowId)
      .filter((workflowId) => parseWorkflowId(workflowId)?.engine === outage.engine);
    if (ids.length === 0) return [];
    return [create(NotLetGoSchema, { outage, count: ids.length, workflowIds: ids.slice(0, named) })];
  });
}
