import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { ApproveBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { brakeLine, commandLine } from "../../command-line.ts";
import { examples } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { renderBrake } from "../../view/brake.ts";
import { writeJson } from "../../view/json.ts";
import { control, requiredReason } from "../control.ts";
import { brakeOf } from "./answer.ts";

interface ApproveFlags extends Flags {
  readonly reason?: string;
  readonly requestId?: string;
}

export function approveBrake(brake: Command, host: Host): void {
  brake
    .command("approve")
    .description("Approve a brake that somebody else asked for: it holds from then on; an emergency goes on holding.")
    .argument("<brake-id>", "br_…")
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .option("--request-id <uuid>", "the same one again answers as before instead of acting twice (default: a new one)")
    .addHelpText(
      "after",
      examples(
        'mctl brake approve br_1abc --reason "seen in INC-42 too"',
        'mctl brake approve br_1abc --reason "on call agrees" -o json | jq .brake.state',
      ),
    )
    .action(async (brakeId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ApproveFlags>();
      const example = `${commandLine(["mctl", "brake", "approve", brakeId])} --reason "seen in INC-42 too"`;
      const reason = requiredReason(flags.reason, example);
      const requestId = flags.requestId ?? randomUUID();
      await withSession(host, flags, async ({ brakes, settings, terminal, call }) => {
        const answer = await control(requestId, () => brakes.approveBrake({ brakeId, reason, requestId }, call()));
        if (settings.output === "json") writeJson(terminal, ApproveBrakeResponseSchema, answer);
        else {
          terminal.write(renderBrake(brakeOf(answer), terminal));
          terminal.note(`To see how they come to stand: ${brakeLine("watch", brakeId)}\n`);
        }
        return undefined;
      });
    });
}
