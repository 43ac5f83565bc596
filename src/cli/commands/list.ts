import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { ListWorkflowsResponseSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import {
  examples,
  moment,
  positiveInteger,
  type WorkflowFilter,
  workflowFilter,
  workflowFilterOptions,
} from "../options.ts";
import { collectPages } from "../paging.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import { writeJson } from "../view/json.ts";
import { renderTable } from "../view/table.ts";
import { workflowColumns } from "../view/workflow.ts";

interface ListFlags extends Flags, WorkflowFilter {
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly limit: number;
  readonly all?: boolean;
}

export function listCommand(program: Command, host: Host): void {
  workflowFilterOptions(program.command("list"))
    .description("List workflows, the newest first.")
    .option("--since <when>", "created at or after: an age like 1h, or an RFC 3339 time", moment)
    .option("--until <when>", "created before: an age like 10m, or an RFC 3339 time", moment)
    .option("--limit <n>", "how many at the most", positiveInteger, 50)
    .option("--all", "all of them, however many pages")
    .addHelpText(
      "after",
      examples(
        "mctl list --status RUNNING,PAUSING --since 1h",
        "mctl list --type RefundAgent --label owner=payments --all",
        "mctl list --status PAUSED -o json | jq -r '.workflows[].workflowId'",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ListFlags>();
      await withSession(host, flags, async ({ missionControl, settings, terminal, call }) => {
        const unreachable = new Set<string>();
        const { items, nextPageToken } = await collectPages(
          flags.all ? Number.POSITIVE_INFINITY : flags.limit,
          500,
          async (pageSize, pageToken) => {
            const page = await missionControl.listWorkflows(
              {
                ...workflowFilter(flags),
                ...(flags.since && { createdAfter: flags.since }),
                ...(flags.until && { createdBefore: flags.until }),
                pageSize,
                pageToken,
              },
              call(),
            );
            for (const engine of page.unreachableEngines) unreachable.add(engine);
            return { items: page.workflows, nextPageToken: page.nextPageToken };
          },
        );
        if (settings.output === "json") {
          const all = { workflows: items, nextPageToken, unreachableEngines: [...unreachable] };
          writeJson(terminal, ListWorkflowsResponseSchema, create(ListWorkflowsResponseSchema, all));
          return undefined;
        }
        if (items.length > 0) terminal.write(renderTable(workflowColumns, items, terminal));
        else terminal.note("No workflow matches.\n");
        if (nextPageToken !== "") terminal.note(`The newest ${items.length}; there are more: --limit or --all.\n`);
        for (const engine of unreachable) {
          terminal.note(`mctl: engine ${engine} did not answer: its workflows are missing here\n`);
        }
        return undefined;
      });
    });
}
