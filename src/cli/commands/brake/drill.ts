import { Code } from "@connectrpc/connect";
import { type Command, Option } from "commander";
import { type Drill, DrillBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { CliFailure, exitCodes, usageFailure } from "../../failure.ts";
import { durationMs, examples, nonEmpty, protoDuration } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import type { Terminal } from "../../terminal.ts";
import { writeJson } from "../../view/json.ts";
import { renderFields } from "../../view/table.ts";
import { printable } from "../../view/text.ts";
import { duration } from "../../view/time.ts";
import { requiredReason } from "../control.ts";

interface DrillFlags extends Flags {
  readonly reason?: string;
  readonly engine?: string;
  /** In ms. */
  readonly wait: number;
}

export function drillBrake(brake: Command, host: Host): void {
  brake
    .command("drill")
    .description(
      "Prove the brake on a harmless canary workflow: start one, brake it, see it stand, release it, see it move. Exit code " +
        "7 if it was not seen to stand in time, 1 if anything else was not as it should be.",
    )
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .option("--engine <name>", "the engine to drill on (default: the first one that has a canary)", nonEmpty)
    .addOption(
      new Option("--wait <duration>", "how long it may take to run, to stand, and to move again: 1s to 60s each")
        .argParser(durationMs)
        .default(10_000, "10s"),
    )
    .addHelpText(
      "after",
      examples(
        'mctl brake drill --reason "before the release of 1.4.2"',
        'mctl brake drill --reason "weekly" --wait 5s -o json | jq .drill.requestToStandstill',
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<DrillFlags>();
      const reason = requiredReason(flags.reason, 'mctl brake drill --reason "before the release of 1.4.2"');
      const { wait: waitMs } = flags;
      if (waitMs < 1_000 || waitMs > 60_000) throw usageFailure("--wait must be 1s to 60s");
      await withSession(host, flags, async ({ brakes, settings, terminal, call }) => {
        const request = { reason, engine: flags.engine ?? "", wait: protoDuration(waitMs) };
        const answer = await brakes.drillBrake(request, call(3 * waitMs));
        const { drill } = answer;
        if (drill === undefined) {
          throw new CliFailure(exitCodes.error, Code.Internal, "the server answered without a drill");
        }
        if (settings.output === "json") writeJson(terminal, DrillBrakeResponseSchema, answer);
        else terminal.write(renderDrill(drill, answer.auditEntryId, terminal));
        checkDrill(drill);
        return undefined;
      });
    });
}

/** A drill in words. */
function renderDrill(drill: Drill, entryId: string, terminal: Terminal): string {
  const { ok, engine, workflowId, brakeId, startToRunning, requestToStandstill, releaseToMoving } = drill;
  const head = ok ? terminal.paint("HOLDS", ["bold", "green"]) : terminal.paint("FAILED", ["bold", "red"]);
  const stood = requestToStandstill !== undefined;
  const fields = renderFields([
    ["running", startToRunning ? `${duration(startToRunning)} after it was asked for` : "NOT SEEN"],
    ["accepted", brakeId && describeAccept(drill)],
    ["standstill", brakeId && (stood ? `${duration(requestToStandstill)} after the request` : "NOT SEEN")],
    ["steps after", stood ? describeSteps(drill) : undefined],
    ["gates", drill.gates > 0 ? `${drill.gatesConfirmed} of ${drill.gates} confirmed that they hold` : undefined],
    [
      "moving again",
      stood ? (releaseToMoving ? `${duration(releaseToMoving)} after the release` : "NOT SEEN") : undefined,
    ],
    ["canary", workflowId],
    ["brake", brakeId],
    ["ledger", entryId],
  ]);
  return `${head}  the brake on ${printable(engine)}\n${fields}`;
}

function describeAccept({ requestToAccept, requestToStandstill }: Drill): string {
  if (requestToAccept) return `${duration(requestToAccept)} after the request, by the engine`;
  return requestToStandstill ? "the engine needed not be asked: a gate had it standing before" : "NOT SEEN";
}

function describeSteps({ requestToAccept, stepsStartedAfterAccept: steps }: Drill): string {
  return `${steps} started after ${requestToAccept ? "the engine accepted" : "the standstill"}`;
}

/** Throws where the drill was not ok. */
function checkDrill({ ok, message, brakeId, requestToStandstill }: Drill): void {
  if (ok) return;
  const late = brakeId !== "" && requestToStandstill === undefined;
  const [exit, code] = late
    ? ([exitCodes.waitEnded, Code.DeadlineExceeded] as const)
    : ([exitCodes.error, Code.FailedPrecondition] as const);
  throw new CliFailure(exit, code, `the drill failed: ${message}`);
}
