import { Code } from "@connectrpc/connect";
import type { Command } from "commander";
import { GetWorkflowResponseSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { Workflow } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { CliFailure, exitCodes } from "../failure.ts";
import { examples } from "../options.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { writeJson } from "../view/json.ts";
import { receiptFields } from "../view/receipt.ts";
import { renderFields } from "../view/table.ts";
import { printable } from "../view/text.ts";
import { age, dateTime } from "../view/time.ts";
import { describeHold, paintStatus } from "../view/workflow.ts";

export function getCommand(program: Command, host: Host): void {
  program
    .command("get")
    .description("Show one workflow: where it stands, what holds it, and how it came to a standstill.")
    .argument("<workflow-id>", "workflow_id, or the engine's own id")
    .addHelpText(
      "after",
      examples(
        "mctl get restate:inv_1abc",
        "mctl get inv_1abc",
        "mctl get restate:inv_1abc -o json | jq .workflow.status",
      ),
    )
    .action(async (workflowId: string, _: unknown, command: Command) => {
      await withSession(
        host,
        command.optsWithGlobals<Flags>(),
        async ({ missionControl, settings, terminal, call }) => {
          const answer = await missionControl.getWorkflow({ workflowId }, call());
          if (settings.output === "json") writeJson(terminal, GetWorkflowResponseSchema, answer);
          else if (answer.workflow) terminal.write(renderWorkflow(answer.workflow, terminal));
          else throw new CliFailure(exitCodes.error, Code.Internal, "the server answered without a workflow");
          return undefined;
        },
      );
    });
}

function renderWorkflow(workflow: Workflow, terminal: Terminal): string {
  const at = (time: typeof workflow.createTime) => time && `${dateTime(time)} (${age(time)} ago)`;
  const steps = workflow.totalSteps === undefined ? "" : ` of ${workflow.totalSteps}`;
  const labels = Object.entries(workflow.labels).map(([key, value]) => `${key}=${value}`);
  const head = `${terminal.paint(printable(workflow.workflowId), "bold")}  ${paintStatus(terminal, workflow.status)}\n`;
  const fields = renderFields([
    ["", workflow.statusDetail],
    ["name", workflow.name],
    ["type", `${workflow.type} on ${workflow.engine}`],
    ["owner", workflow.owner],
    ["step", workflow.currentStep],
    ["steps done", `${workflow.completedSteps}${steps}`],
    ["created", at(workflow.createTime)],
    ["started", at(workflow.startTime)],
    ["updated", at(workflow.updateTime)],
    ["ended", at(workflow.endTime)],
    ["due", workflow.dueTime && dateTime(workflow.dueTime)],
    ["error", workflow.errorMessage],
    ["parent", workflow.parentWorkflowId],
    ["labels", labels.join("\n")],
    [
      "held by",
      workflow.holds
        .map(
          (hold) =>
            `${describeHold(hold)}${hold.brakeId && ` [${hold.brakeId}]`}${hold.engageTime ? `, for ${age(hold.engageTime)}` : ""}`,
        )
        .join("\n"),
    ],
    ["etag", workflow.etag],
  ]);
  const receipt = workflow.haltReceipt
    ? `\n${terminal.paint("Halt receipt", "bold")}\n${renderFields(receiptFields(workflow.haltReceipt))}`
    : "";
  return head + fields + receipt;
}
