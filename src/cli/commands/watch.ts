import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  WatchWorkflowsResponse_Kind as Kind,
  type WatchWorkflowsResponse,
  WatchWorkflowsResponseSchema,
} from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { Workflow } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { exitCodes } from "../failure.ts";
import { follow } from "../follow.ts";
import { examples, type WorkflowFilter, workflowFilter, workflowFilterOptions } from "../options.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { writeJson } from "../view/json.ts";
import { renderTable } from "../view/table.ts";
import { cut, padEnd, printable } from "../view/text.ts";
import { clock } from "../view/time.ts";
import { remark, statusName, statusStyle, workflowColumns } from "../view/workflow.ts";

export function watchCommand(program: Command, host: Host): void {
  workflowFilterOptions(program.command("watch"))
    .description(
      "Show the workflows as they are, then changes of status, until Ctrl-C. Goes on by itself after an outage. " +
        "With -o json every event is shown, steps and heartbeats too.",
    )
    .addHelpText(
      "after",
      examples(
        "mctl watch",
        "mctl watch --type RefundAgent --status PAUSING,PAUSED",
        "mctl watch -o json | jq -c 'select(.kind == \"CHANGED\") | .workflow.status'",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<Flags & WorkflowFilter>();
      await withSession(host, flags, async ({ missionControl, settings, terminal, signal }) => {
        const show =
          settings.output === "json"
            ? (event: WatchWorkflowsResponse) => writeJson(terminal, WatchWorkflowsResponseSchema, event)
            : tableView(terminal);
        try {
          let resumeToken = "";
          const events = follow(
            { signal, server: settings.server, note: settings.output === "table" ? terminal.note : () => {} },
            // Goes on behind the last event that was seen.
            (options) => missionControl.watchWorkflows({ ...workflowFilter(flags), resumeToken }, options),
          );
          for await (const event of events) {
            if (event.resumeToken !== "") resumeToken = event.resumeToken;
            show(event);
          }
        } catch (error) {
          if (!signal.aborted) throw error;
        }
        // Ctrl-C is how a watch ends.
        return exitCodes.ok;
      });
    });
}

/** The snapshot as a table, then a line whenever what can be seen of a workflow changes: its status, or the remark on it. */
function tableView(terminal: Terminal): (event: WatchWorkflowsResponse) => void {
  let snapshot: Workflow[] = [];
  const visible = new Map<string, string>();
  const isNews = (workflow: Workflow): boolean => {
    const now = `${workflow.status} ${remark(workflow)}`;
    const news = visible.get(workflow.workflowId) !== now;
    // What has ended changes no more.
    if (workflow.endTime === undefined) visible.set(workflow.workflowId, now);
    else visible.delete(workflow.workflowId);
    return news;
  };
  return ({ kind, workflow, eventTime }) => {
    if (kind === Kind.SNAPSHOT_BEGIN) {
      snapshot = [];
      visible.clear();
    }
    if (kind === Kind.SNAPSHOT && workflow) {
      snapshot.push(workflow);
      isNews(workflow);
    }
    if (kind === Kind.SNAPSHOT_END) {
      if (snapshot.length > 0) terminal.write(`${renderTable(workflowColumns, snapshot, terminal)}\n`);
      else terminal.note("No workflow matches yet; changes follow here.\n");
      snapshot = [];
    }
    if (kind === Kind.CHANGED && workflow && isNews(workflow))
      terminal.write(changeLine(eventTime, workflow, terminal));
  };
}

function changeLine(eventTime: Timestamp | undefined, workflow: Workflow, terminal: Terminal): string {
  const time = eventTime ? clock(eventTime) : " ".repeat(9);
  const status = statusName(workflow.status);
  const rest = printable([workflow.workflowId, workflow.name, remark(workflow)].filter(Boolean).join("  "));
  const room = terminal.columns === undefined ? Number.POSITIVE_INFINITY : Math.max(20, terminal.columns - 24);
  const shown = cut(rest, room, terminal.unicode ? "…" : "~");
  return `${time}  ${terminal.paint(padEnd(status, 11), statusStyle(workflow.status))}  ${shown}\n`;
}
