import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Command, Option } from "commander";
import {
  type Brake,
  type EngageBrakeRequest,
  EngageBrakeRequestSchema,
  EngageBrakeResponseSchema,
  Brake_State as State,
} from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { brakeLine } from "../../command-line.ts";
import { formatDuration } from "../../duration.ts";
import { CliFailure, type ExitCode, exitCodes, usageFailure } from "../../failure.ts";
import { type Ending, followBrake } from "../../follow-brake.ts";
import { durationMs, examples, nonEmpty, protoDuration } from "../../options.ts";
import { readSelector, type SelectorFlags, selectorOptions } from "../../selector.ts";
import { type Flags, type Host, type Session, withSession } from "../../session.ts";
import { renderBrake } from "../../view/brake.ts";
import { silentGates } from "../../view/fleet-receipt.ts";
import { writeJson } from "../../view/json.ts";
import { describeOutage } from "../../view/outage.ts";
import { renderPreview, renderQuestion } from "../../view/preview.ts";
import { printable } from "../../view/text.ts";
import { clock } from "../../view/time.ts";
import { control, requiredReason } from "../control.ts";
import { brakeOf } from "./answer.ts";
import { checkEnding, checkWait } from "./waiting.ts";

interface EngageFlags extends Flags, SelectorFlags {
  readonly reason?: string;
  readonly ticket?: string;
  readonly emergency?: boolean;
  readonly expiresIn?: number;
  /** --wait in ms; false: --no-wait. */
  readonly wait: number | false;
  readonly gateWait?: number;
  readonly expectSet?: string;
  readonly validateOnly?: boolean;
  readonly requestId?: string;
  readonly yes?: boolean;
}

export function engageBrake(brake: Command, host: Host): void {
  selectorOptions(brake.command("engage"))
    .description(
      "Hold everything that matches, now and later: no further step starts. On a terminal it asks first, and shows how the " +
        "workflows come to stand. Exit code 7 if not all were seen to stand in time, 8 if a second person has to approve.",
    )
    .option("--reason <text>", "why (required); it is kept in the ledger and shown to all who see the workflows")
    .option("--ticket <id>", "the ticket or incident that it belongs to", nonEmpty)
    .option("--emergency", "hold at once, also above your limit; it is loud, and has to be approved afterwards")
    .option("--expires-in <duration>", "release by itself after this time, 1s to 30d (default: never)", durationMs)
    .addOption(
      new Option("--wait <duration>", "wait until all are seen to stand still, at most 1h")
        .argParser(durationMs)
        .default(10_000, "10s"),
    )
    .option("--no-wait", "answer as soon as it is engaged")
    .option("--gate-wait <duration>", "wait for the gates to confirm, at most 60s (default: 1s)", durationMs)
    .option("--expect-set <hash>", "refuse if others match than a preview showed: its hash", nonEmpty)
    .option("--validate-only", "check everything and say what would be done, without doing it")
    .option("--request-id <uuid>", "the same one again answers as before instead of acting twice (default: a new one)")
    .option("-y, --yes", "do not ask")
    .addHelpText(
      "after",
      examples(
        'mctl brake engage --type RefundAgent --reason "pays twice, INC-42" --ticket INC-42',
        'mctl brake engage --label risk=high --reason "look closer" --expires-in 30m --wait 1m',
        'mctl brake engage --everything --reason "keys leaked" --emergency --yes --no-wait',
        'mctl brake engage --workflows-from ids.txt --reason "bad batch" -o json | jq .brake.receipt',
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<EngageFlags>();
      const request = await engageRequest(flags, host);
      await withSession(host, flags, async (session) => {
        if (!flags.yes && !flags.validateOnly) await confirm(session, request);
        return await engage(session, request, flags.wait === false ? 0 : flags.wait);
      });
    });
}

async function engageRequest(flags: EngageFlags, host: Host): Promise<EngageBrakeRequest> {
  const reason = requiredReason(flags.reason, 'mctl brake engage --type RefundAgent --reason "pays twice, INC-42"');
  if (flags.wait !== false) checkWait(flags.wait);
  if (flags.gateWait !== undefined && flags.gateWait > 60_000) throw usageFailure("--gate-wait must be 60s or less");
  return create(EngageBrakeRequestSchema, {
    selector: await readSelector("engage", flags, host),
    excludeDescendants: !flags.descendants,
    reason,
    ticket: flags.ticket ?? "",
    emergency: flags.emergency ?? false,
    requestId: flags.requestId ?? randomUUID(),
    ...(flags.expiresIn !== undefined && { expiresIn: protoDuration(flags.expiresIn) }),
    ...(flags.gateWait !== undefined && { gateWait: protoDuration(flags.gateWait) }),
    expectedSetHash: flags.expectSet ?? "",
    validateOnly: flags.validateOnly ?? false,
  });
}

/** Asks where there is somebody to ask. Throws where the answer is no. */
async function confirm({ brakes, terminal, signal, call }: Session, request: EngageBrakeRequest): Promise<void> {
  const { ask } = terminal;
  if (ask === undefined) return;
  const { selector, excludeDescendants, emergency, reason } = request;
  try {
    const preview = await brakes.previewBrake(
      { ...(selector && { selector }), excludeDescendants, emergency, reason },
      call(),
    );
    terminal.note(renderQuestion(preview, emergency, terminal));
  } catch (error) {
    terminal.note("mctl: it could not be previewed; --yes engages it without.\n");
    throw error;
  }
  const answer = await ask("Engage it? [y/N] ", signal);
  if (!/^y(es)?$/i.test(answer?.trim() ?? "")) {
    throw new CliFailure(exitCodes.error, Code.Canceled, "nothing was done");
  }
}

/** Engages, and follows the brake until all stand: by its id, so that the caller has it whatever happens meanwhile. */
async function engage(session: Session, request: EngageBrakeRequest, waitMs: number): Promise<ExitCode> {
  const { brakes, settings, terminal } = session;
  const json = settings.output === "json";
  const gateWaitMs = request.gateWait === undefined ? 1_000 : Number(request.gateWait.seconds) * 1_000 + 1_000;
  const answer = await control(request.requestId, () => brakes.engageBrake(request, session.call(gateWaitMs)));
  if (request.validateOnly) {
    if (json) writeJson(terminal, EngageBrakeResponseSchema, answer);
    else {
      terminal.write("Nothing was done; it would be allowed.\n");
      if (answer.preview) terminal.write(renderPreview(answer.preview, request.emergency, terminal));
    }
    return exitCodes.ok;
  }
  const engaged = brakeOf(answer);
  const { brake = engaged, ending } =
    engaged.state === State.ENGAGED && waitMs > 0
      ? await followBrake(session, engaged.brakeId, {
          last: engaged,
          limitMs: waitMs,
          screen: json ? undefined : terminal.notes,
          reached: allStand,
        })
      : { brake: engaged, ending: { kind: "reached" } satisfies Ending };
  if (json) writeJson(terminal, EngageBrakeResponseSchema, { ...answer, brake });
  else {
    terminal.write(renderBrake(brake, terminal));
    noteLoudly(session, brake);
  }
  checkStanding(brake, ending, waitMs);
  return exitCodes.ok;
}

function allStand({ receipt }: Brake): boolean {
  return receipt?.allStandingTime !== undefined;
}

/** What must not be overlooked although the brake holds. */
function noteLoudly({ terminal }: Session, { brakeId, state, approval, receipt }: Brake): void {
  const silent = silentGates(receipt?.gates ?? []);
  if (silent !== undefined) terminal.note(`mctl: no answer from these gates: ${printable(silent)}\n`);
  for (const outage of receipt?.unreachableEngines ?? []) {
    terminal.note(`mctl: ${printable(describeOutage(outage))}; it goes on being tried\n`);
  }
  if (state === State.ENGAGED && approval?.approveBy && approval.approvedBy === "") {
    terminal.note(
      `mctl: a second person has to approve this emergency by ${clock(approval.approveBy)}, or it is released:\n` +
        `  ${brakeLine("approve", brakeId)}\n`,
    );
  }
}

/** Throws where the brake does not hold, or not all were seen to stand. */
function checkStanding(brake: Brake, ending: Ending, waitMs: number): void {
  const { brakeId, state, receipt, approval } = brake;
  if (state === State.AWAITING_APPROVAL) {
    throw new CliFailure(
      exitCodes.awaitingApproval,
      Code.FailedPrecondition,
      `${brakeId} holds nothing yet: for ${approval?.matched ?? 0} workflows a second person has to approve it:\n` +
        `  ${brakeLine("approve", brakeId)}`,
    );
  }
  if (state === State.RELEASED || state === State.EXPIRED) {
    throw new CliFailure(
      exitCodes.failedPrecondition,
      Code.FailedPrecondition,
      `${brakeId} holds no longer: it was released meanwhile`,
    );
  }
  const { matched = 0, standing = 0, halting = 0, pending = 0 } = receipt ?? {};
  const missed = `${standing} of ${matched} workflows were seen to stand still within ${formatDuration(waitMs)} (${halting} halting, ${pending} pending)`;
  checkEnding(ending, brake, missed, "the brake stands and keeps holding");
}
