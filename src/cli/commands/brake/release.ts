import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type Brake,
  type ReleaseBrakeRequest,
  ReleaseBrakeRequestSchema,
  ReleaseBrakeResponseSchema,
  Brake_State as State,
} from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { brakeLine, commandLine } from "../../command-line.ts";
import { formatDuration } from "../../duration.ts";
import { CliFailure, type ExitCode, exitCodes, usageFailure } from "../../failure.ts";
import { type Ending, followBrake } from "../../follow-brake.ts";
import { durationMs, examples, protoDuration } from "../../options.ts";
import { type Flags, type Host, type Session, withSession } from "../../session.ts";
import { count, renderBrake, renderNotLetGo, renderStillHeld } from "../../view/brake.ts";
import { writeJson } from "../../view/json.ts";
import { control, requiredReason } from "../control.ts";
import { brakeOf } from "./answer.ts";
import { checkEnding, checkWait, maxWaitMs } from "./waiting.ts";

interface ReleaseFlags extends Flags {
  readonly reason?: string;
  readonly staged?: number;
  readonly stageWatch?: number;
  readonly maxFailures?: number;
  /** In ms; true: as long as it takes. */
  readonly wait?: number | true;
  readonly validateOnly?: boolean;
  readonly requestId?: string;
}

export function releaseBrake(brake: Command, host: Host): void {
  brake
    .command("release")
    .description(
      "Let go of what a brake holds and no other brake does: all at a bounded rate, or a share at a time, watched for " +
        "failures. Exit code 5 if it held the rest again by itself, 7 if the wait ended before all were let go.",
    )
    .argument("<brake-id>", "br_…")
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .option("--staged <percent>", "let this share go at a time, 1% to 100%, and go on only if it is well", percent)
    .option("--stage-watch <duration>", "how long each stage is watched, 1s to 1h (default: 30s)", durationMs)
    .option("--max-failures <n>", "how many of those let go may fail, 0 to 10000 (default: 0)", failures)
    .addOption(
      new Option("--wait [duration]", "show the progress until all have been let go, at most 1h").argParser(durationMs),
    )
    .option("--validate-only", "check everything and say what would be done, without doing it")
    .option("--request-id <uuid>", "the same one again answers as before instead of acting twice (default: a new one)")
    .addHelpText(
      "after",
      examples(
        'mctl brake release br_1abc --reason "fixed by release 1.4.2, INC-42" --wait',
        'mctl brake release br_1abc --reason "carefully" --staged 10% --stage-watch 1m --max-failures 2 --wait',
        'mctl brake release br_1abc --reason "false alarm" -o json | jq .stillHeld',
      ),
    )
    .action(async (brakeId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ReleaseFlags>();
      const request = releaseRequest(brakeId, flags);
      const waitMs = flags.wait === true ? maxWaitMs : (flags.wait ?? 0);
      checkWait(waitMs);
      await withSession(host, flags, (session) => release(session, request, waitMs));
    });
}

function releaseRequest(brakeId: string, flags: ReleaseFlags): ReleaseBrakeRequest {
  const example = `${commandLine(["mctl", "brake", "release", brakeId])} --reason "fixed by release 1.4.2, INC-42"`;
  const reason = requiredReason(flags.reason, example);
  const { staged, stageWatch, maxFailures } = flags;
  if (staged === undefined && (stageWatch ?? maxFailures) !== undefined) {
    throw usageFailure("--stage-watch and --max-failures go with --staged, e.g. --staged 10%");
  }
  return create(ReleaseBrakeRequestSchema, {
    brakeId,
    reason,
    requestId: flags.requestId ?? randomUUID(),
    ...(staged !== undefined && {
      staged: { percent: staged, watch: protoDuration(stageWatch ?? 30_000), maxFailures: maxFailures ?? 0 },
    }),
    validateOnly: flags.validateOnly ?? false,
  });
}

async function release(session: Session, request: ReleaseBrakeRequest, waitMs: number): Promise<ExitCode> {
  const { brakes, settings, terminal } = session;
  const json = settings.output === "json";
  const answer = await control(request.requestId, () => brakes.releaseBrake(request, session.call()));
  const released = brakeOf(answer);
  const { brake = released, ending } =
    waitMs > 0 && !request.validateOnly
      ? await followBrake(session, request.brakeId, {
          last: released,
          limitMs: waitMs,
          screen: json ? undefined : terminal.notes,
          reached: (seen) => allLetGo(seen) || heldAgain(seen) !== undefined,
        })
      : { brake: released, ending: { kind: "reached" } satisfies Ending };
  if (json) writeJson(terminal, ReleaseBrakeResponseSchema, { ...answer, brake });
  else {
    if (request.validateOnly) terminal.write("Nothing was done; it would be allowed.\n");
    terminal.write(renderBrake(brake, terminal) + renderStillHeld(answer.stillHeld, terminal));
    if ((brake.release?.remaining ?? 0) > 0) terminal.write(renderNotLetGo(answer.notLetGo, terminal));
  }
  checkReleased(brake, ending, waitMs);
  return exitCodes.ok;
}

/** In stages it is over only when the last one has been watched too: until then the rest may be held again. */
function allLetGo({ state, release }: Brake): boolean {
  return (state === State.RELEASED || state === State.EXPIRED) && release?.remaining === 0;
}

/** What made a staged release hold the rest again; undefined where nothing did. */
function heldAgain({ release }: Brake): string | undefined {
  return release?.haltedBecause || undefined;
}

/** Throws where the rest was held again, or the wait ended before all were let go. */
function checkReleased(brake: Brake, ending: Ending, waitMs: number): void {
  const { brakeId, release } = brake;
  const { released = 0, remaining = 0 } = release ?? {};
  const because = heldAgain(brake);
  if (because !== undefined) {
    throw new CliFailure(
      exitCodes.failedPrecondition,
      Code.FailedPrecondition,
      `HELD AGAIN: ${because}\n` +
        `  ${count(remaining, "workflow")} held as before. To let them go all the same:\n  ${brakeLine("release", brakeId)}`,
    );
  }
  const missed = `${released} of ${released + remaining} workflows were let go within ${formatDuration(waitMs)}`;
  checkEnding(ending, brake, missed, "the release goes on");
}

function percent(text: string): number {
  const value = Number(text.replace(/%$/, ""));
  if (!/^\d+%?$/.test(text) || value < 1 || value > 100) throw new InvalidArgumentError("It must be 1% to 100%.");
  return value;
}

function failures(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 10_000)
    throw new InvalidArgumentError("It must be a whole number from 0 to 10000.");
  return value;
}
