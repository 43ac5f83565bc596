import {
  type Hold,
  type Workflow,
  Workflow_Status,
  Workflow_StatusSchema,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Style, Terminal } from "../terminal.ts";
import { enumName } from "./enum.ts";
import type { Column } from "./table.ts";
import { age, clock } from "./time.ts";

const styles: Readonly<Record<Workflow_Status, Style | undefined>> = {
  [Workflow_Status.STATUS_UNSPECIFIED]: undefined,
  [Workflow_Status.PENDING]: "blue",
  [Workflow_Status.RUNNING]: "cyan",
  [Workflow_Status.PAUSING]: ["bold", "yellow"],
  [Workflow_Status.PAUSED]: ["bold", "magenta"],
  [Workflow_Status.RESUMING]: "yellow",
  [Workflow_Status.COMPLETED]: "green",
  [Workflow_Status.FAILED]: ["bold", "red"],
  [Workflow_Status.CANCELED]: "gray",
  [Workflow_Status.ROLLED_BACK]: "gray",
  [Workflow_Status.SILENT]: "yellow",
};

export function statusName(status: Workflow_Status): string {
  return enumName(Workflow_StatusSchema, status);
}

export function statusStyle(status: Workflow_Status): Style | undefined {
  return styles[status];
}

export function paintStatus(terminal: Terminal, status: Workflow_Status): string {
  return terminal.paint(statusName(status), statusStyle(status));
}

/** 'alice: "double refunds", releases in 27m'; an external hold says so. */
export function describeHold(hold: Hold): string {
  if (hold.external) return "somebody paused it in the engine's own tool";
  const until = hold.expireTime === undefined ? "" : `, releases by itself at ${clock(hold.expireTime)}`;
  return `${hold.engagedBy}${hold.emergency ? " (emergency)" : ""}: "${hold.reason}"${until}`;
}

/** The one thing about a workflow that matters most beside its status: what holds it, what went wrong, what it waits for. */
export function remark(workflow: Workflow): string {
  const [hold] = workflow.holds;
  if (hold !== undefined) {
    const more = workflow.holds.length > 1 ? ` (+${workflow.holds.length - 1} more)` : "";
    return `${describeHold(hold)}${more}`;
  }
  if (workflow.errorMessage !== "") return workflow.errorMessage;
  if (workflow.dueTime !== undefined) return `due ${clock(workflow.dueTime)}`;
  return workflow.statusDetail;
}

/** The columns of list and of watch's snapshot. */
export const workflowColumns: readonly Column<Workflow>[] = [
  { header: "WORKFLOW", value: (workflow) => workflow.workflowId },
  {
    header: "STATUS",
    value: (workflow) => statusName(workflow.status),
    style: (workflow) => statusStyle(workflow.status),
  },
  { header: "AGE", value: (workflow) => age(workflow.createTime) },
  { header: "NAME", value: (workflow) => workflow.name || workflow.type, minWidth: 10 },
  { header: "REMARK", value: remark, minWidth: 16, optional: true },
];
