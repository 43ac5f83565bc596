import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  type GetWorkflowTraceResponse,
  GetWorkflowTraceResponseSchema,
} from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { examples, positiveInteger } from "../options.ts";
import { collectPages } from "../paging.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { renderChart } from "../trace/chart.ts";
import { writeJson } from "../view/json.ts";
import { printable } from "../view/text.ts";
import { age, dateTime } from "../view/time.ts";
import { describeHold, paintStatus } from "../view/workflow.ts";

interface TraceFlags extends Flags {
  readonly limit: number;
  readonly all?: boolean;
}

export function traceCommand(program: Command, host: Host): void {
  program
    .command("trace")
    .description("Draw what a workflow did, when, what is in flight now, and who paused and resumed it.")
    .argument("<workflow-id>", "workflow_id, or the engine's own id")
    .option("--limit <n>", "how many entries at the most, the oldest first", positiveInteger, 1000)
    .option("--all", "all entries, however many pages")
    .addHelpText(
      "after",
      examples(
        "mctl trace restate:inv_1abc",
        "mctl trace restate:inv_1abc | tee incident-42.txt",
        "mctl trace restate:inv_1abc -o json | jq '.inFlight'",
      ),
    )
    .action(async (workflowId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<TraceFlags>();
      await withSession(host, flags, async ({ missionControl, settings, terminal, call }) => {
        // Workflow and in-flight entries are those of the last page: the newest.
        let last: GetWorkflowTraceResponse | undefined;
        const { items, nextPageToken } = await collectPages(
          flags.all ? Number.POSITIVE_INFINITY : flags.limit,
          500,
          async (pageSize, pageToken) => {
            last = await missionControl.getWorkflowTrace({ workflowId, pageSize, pageToken }, call());
            return { items: last.entries, nextPageToken: last.nextPageToken };
          },
        );
        const trace = create(GetWorkflowTraceResponseSchema, {
          ...(last?.workflow && { workflow: last.workflow }),
          entries: items,
          inFlight: last?.inFlight ?? [],
          nextPageToken,
        });
        if (settings.output === "json") {
          writeJson(terminal, GetWorkflowTraceResponseSchema, trace);
          return undefined;
        }
        terminal.write(renderHead(trace, terminal) + renderChart(trace, terminal, Date.now()));
        if (nextPageToken !== "")
          terminal.note(`The oldest ${items.length} entries; there are more: --limit or --all.\n`);
        return undefined;
      });
    });
}

function renderHead({ workflow }: GetWorkflowTraceResponse, terminal: Terminal): string {
  if (workflow === undefined) return "";
  const facts = [
    printable(workflow.name),
    ...(workflow.createTime ? [`created ${dateTime(workflow.createTime)} (${age(workflow.createTime)} ago)`] : []),
  ];
  return [
    `${terminal.paint(printable(workflow.workflowId), "bold")}  ${paintStatus(terminal, workflow.status)}`,
    facts.filter(Boolean).join(", "),
    ...(workflow.statusDetail ? [printable(workflow.statusDetail)] : []),
    ...workflow.holds.map((hold) => `held by ${printable(describeHold(hold))}`),
    "",
    "",
  ].join("\n");
}
