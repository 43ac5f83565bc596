import type { Command } from "commander";
import { WatchBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { exitCodes } from "../../failure.ts";
import { followBrake } from "../../follow-brake.ts";
import { examples } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { renderBrake } from "../../view/brake.ts";
import { writeJson } from "../../view/json.ts";

export function watchBrake(brake: Command, host: Host): void {
  brake
    .command("watch")
    .description(
      "Show how a brake comes to hold, holds and lets go, until it is over or Ctrl-C. Goes on by itself after an outage. " +
        "With -o json every event is shown, heartbeats too.",
    )
    .argument("<brake-id>", "br_…")
    .addHelpText(
      "after",
      examples("mctl brake watch br_1abc", "mctl brake watch br_1abc -o json | jq -c .brake.receipt.standing"),
    )
    .action(async (brakeId: string, _: unknown, command: Command) => {
      await withSession(host, command.optsWithGlobals<Flags>(), async (session) => {
        const { settings, terminal } = session;
        const json = settings.output === "json";
        const { brake: last, ending } = await followBrake(session, brakeId, {
          screen: json ? undefined : terminal.answers,
          ...(json && { event: (event) => writeJson(terminal, WatchBrakeResponseSchema, event) }),
        });
        if (ending.kind === "failed") throw ending.error;
        if (ending.kind === "over" && last && !json) terminal.write(`\n${renderBrake(last, terminal)}`);
        // Ctrl-C is how a watch ends.
        return exitCodes.ok;
      });
    });
}
