import type { Command } from "commander";
import { examples } from "../options.ts";
import type { Host } from "../session.ts";
import { approveBrake } from "./brake/approve.ts";
import { drillBrake } from "./brake/drill.ts";
import { engageBrake } from "./brake/engage.ts";
import { getBrake } from "./brake/get.ts";
import { listBrakes } from "./brake/list.ts";
import { previewBrake } from "./brake/preview.ts";
import { releaseBrake } from "./brake/release.ts";
import { watchBrake } from "./brake/watch.ts";

export function brakeCommand(program: Command, host: Host): void {
  const brake = program
    .command("brake")
    .description("Hold many workflows at once: those that run and those that will, until released.")
    .addHelpText(
      "after",
      examples(
        "mctl brake preview --type RefundAgent",
        'mctl brake engage --type RefundAgent --reason "pays twice, INC-42"',
        'mctl brake release br_1abc --reason "fixed by release 1.4.2" --staged 10% --wait',
      ),
    );
  const commands = [
    previewBrake,
    engageBrake,
    listBrakes,
    getBrake,
    watchBrake,
    approveBrake,
    releaseBrake,
    drillBrake,
  ];
  for (const command of commands) command(brake, host);
}
