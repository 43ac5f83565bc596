import type { Command } from "commander";
import { ActionAccess_Answer as Answer, GetAccessResponseSchema } from "../../../gen/missioncontrol/v1/access_pb.ts";
import { exitCodes, usageFailure } from "../failure.ts";
import { examples } from "../options.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import { accessColumns, renderAccess } from "../view/access.ts";
import { writeJson } from "../view/json.ts";
import { renderTable } from "../view/table.ts";

interface CanFlags extends Flags {
  readonly list?: boolean;
  readonly reason?: string;
  readonly emergency?: boolean;
  readonly ticket?: string;
}

export function canCommand(program: Command, host: Host): void {
  program
    .command("can")
    .description("May I? Whether you may do something, by which role and scope, and what policy says; nothing is done.")
    .argument("[action]", "pause, resume, brake, … or in full, like runtime.brake.release")
    .argument("[workflow-id]", "to this workflow; without one, in general")
    .option("--list", "all that you may do; with a workflow: to this one")
    .option("--reason <text>", "with this reason (default: as if there were one)")
    .option("--emergency", "as an emergency")
    .option("--ticket <id>", "with this ticket")
    .addHelpText(
      "after",
      examples(
        "mctl can pause restate:inv_1abc",
        "mctl can resume restate:inv_1abc --emergency && echo go",
        "mctl can --list",
        "mctl can --list restate:inv_1abc",
      ),
    )
    .action(async (action: string | undefined, workflow: string | undefined, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<CanFlags>();
      if (flags.list && workflow !== undefined) throw usageFailure("--list takes a workflow at the most, no action");
      if (!flags.list && action === undefined) throw usageFailure("say what you would do, like pause, or give --list");
      const workflowId = (flags.list ? action : workflow) ?? "";
      await withSession(host, flags, async ({ access, settings, terminal, call }) => {
        const { reason = "", emergency = false, ticket = "" } = flags;
        const asked = { workflowId, action: flags.list || !action ? [] : [action], reason, emergency, ticket };
        const answer = await access.getAccess(asked, call());
        const { actions } = answer;
        if (settings.output === "json") writeJson(terminal, GetAccessResponseSchema, answer);
        else if (flags.list) terminal.write(renderTable(accessColumns, actions, terminal));
        else terminal.write(actions.map((one) => renderAccess(one, answer.workflowId, terminal)).join("\n"));
        return !flags.list && actions.every((one) => one.answer === Answer.NO) ? exitCodes.denied : undefined;
      });
    });
}
