import type { Command } from "commander";
import { PreviewBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { commandLine } from "../../command-line.ts";
import { usageFailure } from "../../failure.ts";
import { examples, positiveInteger } from "../../options.ts";
import { readSelector, type SelectorFlags, selectorOptions, selectorWords } from "../../selector.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { serverWords } from "../../settings.ts";
import { writeJson } from "../../view/json.ts";
import { renderPreview } from "../../view/preview.ts";

interface PreviewFlags extends Flags, SelectorFlags {
  readonly sample: number;
  readonly emergency?: boolean;
  readonly reason?: string;
}

export function previewBrake(brake: Command, host: Host): void {
  selectorOptions(brake.command("preview"))
    .description("Say what a brake would hold, how, and who would have to approve it, without doing anything.")
    .option("--sample <n>", "how many workflows to show, at most 100", positiveInteger, 10)
    .option("--emergency", "as it would be asked for: an emergency needs no approval beforehand")
    .option("--reason <text>", "as it would be given, for the policy's answer")
    .addHelpText(
      "after",
      examples(
        "mctl brake preview --type RefundAgent --label risk=high",
        "mctl brake preview --expr 'workflow.name.startsWith(\"Refund\")' --since 1h",
        "mctl list --status RUNNING -o json | jq -r '.workflows[].workflowId' |\n      mctl brake preview --workflows-from -",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<PreviewFlags>();
      if (flags.sample > 100) throw usageFailure("--sample must be 100 or less");
      const selector = await readSelector("preview", flags, host);
      await withSession(host, flags, async ({ brakes, settings, terminal, call }) => {
        const preview = await brakes.previewBrake(
          {
            selector,
            excludeDescendants: !flags.descendants,
            sampleSize: flags.sample,
            emergency: flags.emergency ?? false,
            reason: flags.reason ?? "",
          },
          call(),
        );
        if (settings.output === "json") {
          writeJson(terminal, PreviewBrakeResponseSchema, preview);
          return undefined;
        }
        terminal.write(renderPreview(preview, flags.emergency ?? false, terminal));
        const again = flags.workflowsFrom === "-" ? ", with the same list on standard input" : "";
        terminal.write(`\nTo hold these, and refuse if others match by then${again}:\n`);
        terminal.write(`  ${engageLine(flags, preview.setHash)}\n`);
        return undefined;
      });
    });
}

/** What one types to engage what was previewed. */
function engageLine(flags: PreviewFlags, setHash: string): string {
  const line = commandLine([
    ...["mctl", "brake", "engage", ...serverWords(flags), ...selectorWords(flags)],
    ...(flags.emergency ? ["--emergency"] : []),
    ...["--expect-set", setHash],
  ]);
  return `${line} --reason ${flags.reason ? commandLine([flags.reason]) : '"…"'}`;
}
