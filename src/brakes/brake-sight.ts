import { fromJson } from "@bufbuild/protobuf";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { Reach } from "../policy/reach.ts";
import type { Brake, Hold, Scope } from "../store/brake.ts";
import { parseLabel } from "./selector/validate.ts";

/** A brake as far as somebody reaches. */
export interface SeenBrake {
  readonly brake: Brake;
  /** Those of its holds that are within reach. */
  readonly holds: readonly Hold[];
  /** True where all that it holds or held, and all that it may come to hold, is within reach. */
  readonly whole: boolean;
}

/**
 * The brake as far as it is within reach; undefined where nothing of it is: then it does not exist. One that holds nothing
 * yet is there for those who reach all that it may come to hold.
 */
export function seenWithin(
  reach: Reach,
  { brake, holds }: { readonly brake: Brake; readonly holds: readonly Hold[] },
): SeenBrake | undefined {
  if (!reach.isLimited) return { brake, holds, whole: true };
  const within = holds.filter((hold) => isWithin(reach, hold));
  const whole = within.length === holds.length && (brake.workflowId !== "" || reach.covers(boundsOf(brake)));
  return whole || within.length > 0 ? { brake, holds: within, whole } : undefined;
}

/** True where the hold is on a workflow that is within reach. */
export function isWithin(reach: Reach, { workflowId, traits }: Hold): boolean {
  return reach.admits(parseWorkflowId(workflowId)?.engine ?? "", traits);
}

/** What a selector's brake cannot reach beyond; undefined: nothing bounds it. */
function boundsOf({ scopes, selector, includeDescendants }: Brake): readonly Scope[] | undefined {
  // Children are whatever they are: only the scopes bound them.
  if (includeDescendants) return scopes;
  const { engines, types, labels } = fromJson(SelectorSchema, selector);
  const own: Scope = {
    ...(engines.length > 0 && { engines }),
    ...(types.length > 0 && { types }),
    labels: Object.fromEntries(labels.map(parseLabel).map(({ key, value }) => [key, value])),
  };
  return (scopes ?? [{}]).map((scope) => ({
    engines: both(scope.engines, own.engines),
    types: both(scope.types, own.types),
    labels: { ...own.labels, ...scope.labels },
  }));
}

function both(some: readonly string[] | undefined, others: readonly string[] | undefined) {
  return some && others ? some.filter((one) => others.includes(one)) : (some ?? others);
}
