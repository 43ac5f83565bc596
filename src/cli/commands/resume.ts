import type { Command } from "commander";
import { ResumeWorkflowResponseSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { examples, protoDuration } from "../options.ts";
import { type Host, withSession } from "../session.ts";
import { writeJson } from "../view/json.ts";
import {
  type ControlFlags,
  control,
  controlCall,
  controlOptions,
  controlRequest,
  renderControl,
  waitMs,
  waitOutcome,
} from "./control.ts";

export function resumeCommand(program: Command, host: Host): void {
  controlOptions(program.command("resume"))
    .description("Let a held workflow go on where it stood. Waits until it is seen to move or to be free to.")
    .addHelpText(
      "after",
      examples(
        'mctl resume restate:inv_1abc --reason "fixed by release 1.4.2, INC-42"',
        'mctl resume restate:inv_1abc --reason "false alarm" --no-wait',
        'mctl resume restate:inv_1abc --reason "would it work?" --validate-only',
      ),
    )
    .action(async (workflowId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ControlFlags>();
      const request = controlRequest("resume", workflowId, flags);
      await withSession(host, flags, async (session) => {
        const { missionControl, settings, terminal } = session;
        const answer = await control(request.requestId, () =>
          missionControl.resumeWorkflow(
            { ...request, wait: protoDuration(waitMs(flags)) },
            controlCall(session, flags),
          ),
        );
        if (settings.output === "json") writeJson(terminal, ResumeWorkflowResponseSchema, answer);
        else terminal.write(renderControl(answer, flags, terminal));
        return waitOutcome(answer, flags, Workflow_Status.RESUMING, {
          seen: "to move",
          stands: "its brake is released, and Mission Control keeps releasing it",
        });
      });
    });
}
