import type { Command } from "commander";
import { GetBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { examples } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { renderBrake } from "../../view/brake.ts";
import { writeJson } from "../../view/json.ts";
import { brakeOf } from "./answer.ts";

export function getBrake(brake: Command, host: Host): void {
  brake
    .command("get")
    .description("Show one brake: what it holds and why, who approved or released it, and its halt receipt.")
    .argument("<brake-id>", "br_…")
    .addHelpText("after", examples("mctl brake get br_1abc", "mctl brake get br_1abc -o json | jq .brake.receipt"))
    .action(async (brakeId: string, _: unknown, command: Command) => {
      await withSession(host, command.optsWithGlobals<Flags>(), async ({ brakes, settings, terminal, call }) => {
        const answer = await brakes.getBrake({ brakeId }, call());
        if (settings.output === "json") writeJson(terminal, GetBrakeResponseSchema, answer);
        else terminal.write(renderBrake(brakeOf(answer), terminal));
        return undefined;
      });
    });
}
