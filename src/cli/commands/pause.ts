import type { Command } from "commander";
import { PauseWorkflowResponseSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { durationMs, examples, protoDuration } from "../options.ts";
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

interface PauseFlags extends ControlFlags {
  readonly expiresIn?: number;
}

export function pauseCommand(program: Command, host: Host): void {
  controlOptions(program.command("pause"))
    .description("Hold a workflow: no further step starts. Waits until the engine is seen to stand still.")
    .option("--expires-in <duration>", "release by itself after this time, 1s to 30d (default: never)", durationMs)
    .addHelpText(
      "after",
      examples(
        'mctl pause restate:inv_1abc --reason "pays twice, INC-42"',
        'mctl pause restate:inv_1abc --reason "look closer" --expires-in 30m --wait 30s',
        'mctl pause restate:inv_1abc --reason "runs wild" --emergency --no-wait',
      ),
    )
    .action(async (workflowId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<PauseFlags>();
      const request = controlRequest("pause", workflowId, flags);
      await withSession(host, flags, async (session) => {
        const { missionControl, settings, terminal } = session;
        const answer = await control(request.requestId, () =>
          missionControl.pauseWorkflow(
            {
              ...request,
              wait: protoDuration(waitMs(flags)),
              ...(flags.expiresIn !== undefined && { expiresIn: protoDuration(flags.expiresIn) }),
            },
            controlCall(session, flags),
          ),
        );
        if (settings.output === "json") writeJson(terminal, PauseWorkflowResponseSchema, answer);
        else terminal.write(renderControl(answer, flags, terminal));
        return waitOutcome(answer, flags, Workflow_Status.PAUSING, {
          seen: "to stand still",
          stands: "the brake stands and keeps holding",
        });
      });
    });
}
