import { Workflow_Status as Status, Workflow_StatusSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { EngineStatus } from "../engines/engine.ts";
import type { Held } from "../store/brake.ts";
import { holds } from "./halt.ts";

/**
 * Where a workflow stands, from what its engine shows and which holds there are. Pure; the one place that says PAUSED.
 *
 * @param all the holds on it that are not settled.
 */
export function statusOf(shown: EngineStatus, all: readonly Held[]): Status {
  const ended = endedStatus(shown);
  if (ended !== undefined) return ended;
  const holding = all.filter(holds);
  if (holding.length > 0) {
    // Both: the engine shows it paused now, and it was read back as standing still for one of the brakes.
    const stands = shown === "paused" && holding.some(({ hold }) => hold.halt.standstillTime !== undefined);
    return stands ? Status.PAUSED : Status.PAUSING;
  }
  if (all.some(({ hold }) => !hold.halt.settled)) return Status.RESUMING;
  if (shown === "paused") return Status.PAUSED;
  if (shown === "silent") return Status.SILENT;
  return shown === "pending" ? Status.PENDING : Status.RUNNING;
}

/** The engine's statuses in which workflows of a status are found: to be asked of the engine, then judged by statusOf. */
export function shownIn(status: Status): readonly EngineStatus[] {
  switch (status) {
    case Status.PENDING:
      return ["pending"];
    case Status.RUNNING:
      return ["running"];
    case Status.PAUSED:
      return ["paused"];
    case Status.PAUSING:
    case Status.RESUMING:
      return ["pending", "running", "paused", "silent"];
    case Status.SILENT:
      return ["silent"];
    case Status.COMPLETED:
      return ["completed"];
    case Status.FAILED:
      return ["failed"];
    case Status.CANCELED:
      return ["canceled"];
    case Status.ROLLED_BACK:
      return ["rolledBack"];
    default:
      return [];
  }
}

/** The status as JSON and queries write it. */
export function statusName(status: Status): string {
  return Workflow_StatusSchema.value[status]?.name ?? String(status);
}

/** The status of a workflow that has ended; undefined while it is open. */
export function endedStatus(shown: EngineStatus): Status | undefined {
  switch (shown) {
    case "completed":
      return Status.COMPLETED;
    case "failed":
      return Status.FAILED;
    case "canceled":
      return Status.CANCELED;
    case "rolledBack":
      return Status.ROLLED_BACK;
    default:
      return undefined;
  }
}
