import { randomUUID } from "node:crypto";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { type Command, Option } from "commander";
import type { HaltReceipt, Workflow_Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { formatDuration } from "../duration.ts";
import { CliFailure, controlFailure, type ExitCode, exitCodes, usageFailure } from "../failure.ts";
import { durationMs } from "../options.ts";
import type { Flags, Session } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { receiptFields } from "../view/receipt.ts";
import { renderFields } from "../view/table.ts";
import { printable } from "../view/text.ts";
import { dateTime } from "../view/time.ts";
import { paintStatus, statusName } from "../view/workflow.ts";

/** The flags of pause and resume. */
export interface ControlFlags extends Flags {
  readonly reason?: string;
  readonly emergency?: boolean;
  /** --wait in ms; false: --no-wait. */
  readonly wait: number | false;
  readonly requestId?: string;
  readonly validateOnly?: boolean;
}

export function controlOptions(command: Command): Command {
  return command
    .argument("<workflow-id>", "workflow_id, or the engine's own id")
    .option("--reason <text>", "why (required); it is kept in the ledger and shown to all who see the workflow")
    .option("--emergency", "say that it is an emergency: policy may allow or demand more, and the ledger says so")
    .addOption(
      new Option("--wait <duration>", "wait for what was asked to be seen, at most 60s")
        .argParser(durationMs)
        .default(10_000, "10s"),
    )
    .option("--no-wait", "answer at once")
    .option("--request-id <uuid>", "the same one again answers as before instead of acting twice (default: a new one)")
    .option("--validate-only", "check everything and say what would be done, without doing it");
}

/** The request fields that pause and resume share. Throws a usage failure where the reason is missing. */
export function controlRequest(verb: "pause" | "resume", workflowId: string, flags: ControlFlags) {
  const { wait } = flags;
  const reason = requiredReason(
    flags.reason,
    `mctl ${verb} ${workflowId} --reason ${verb === "pause" ? '"pays twice, INC-42"' : '"fixed by release 1.4.2, INC-42"'}`,
  );
  if (wait !== false && wait > 60_000) throw usageFailure("--wait must be 60s or less");
  return {
    workflowId,
    reason,
    emergency: flags.emergency ?? false,
    requestId: flags.requestId ?? randomUUID(),
    validateOnly: flags.validateOnly ?? false,
  };
}

/** The reason as given. Throws a usage failure with an example where there is none, or only the "…" of a line to fill in. */
export function requiredReason(reason: string | undefined, example: string): string {
  if (reason !== undefined && /[\p{L}\p{N}]/u.test(reason)) return reason;
  throw usageFailure(`--reason is required: whoever looks at this next needs to know why. For example:\n  ${example}`);
}

/** How long the server is asked to wait, in ms. */
export function waitMs(flags: ControlFlags): number {
  return flags.wait === false || flags.validateOnly ? 0 : flags.wait;
}

/** Makes a control call; where it is not known whether it was done, the failure says how to ask again safely. */
export async function control<T>(requestId: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw controlFailure(error, requestId);
  }
}

/** What pause and resume answer alike. */
export interface ControlAnswer {
  readonly workflowId: string;
  readonly previousStatus: Workflow_Status;
  readonly newStatus: Workflow_Status;
  readonly controlledBy: string;
  readonly controlledAt?: Timestamp | undefined;
  readonly auditEntryId: string;
  readonly brakeId: string;
  readonly haltReceipt?: HaltReceipt | undefined;
  readonly statusDetail: string;
}

export function renderControl(answer: ControlAnswer, flags: ControlFlags, terminal: Terminal): string {
  const id = printable(answer.workflowId);
  const was = statusName(answer.previousStatus);
  const head = flags.validateOnly
    ? `Nothing was done; it would be allowed. ${terminal.paint(id, "bold")} is ${paintStatus(terminal, answer.newStatus)}.\n`
    : `${paintStatus(terminal, answer.newStatus)}  ${terminal.paint(id, "bold")}  (was ${was})\n`;
  const by = [answer.controlledBy, answer.controlledAt && dateTime(answer.controlledAt)].filter(Boolean).join(", ");
  const fields = renderFields([
    ["", answer.statusDetail],
    ["by", flags.validateOnly ? "" : by],
    ["brake", answer.brakeId],
    ["ledger", answer.auditEntryId],
    ...(answer.haltReceipt ? receiptFields(answer.haltReceipt) : []),
  ]);
  return head + fields;
}

/** Ends a wait in vain: what was not seen, what stands all the same, and where to look. */
export function waitOutcome(
  answer: ControlAnswer,
  flags: ControlFlags,
  pending: Workflow_Status,
  { seen, stands }: { readonly seen: string; readonly stands: string },
): ExitCode {
  const waited = waitMs(flags);
  if (answer.newStatus !== pending || waited === 0) return exitCodes.ok;
  throw new CliFailure(
    exitCodes.waitEnded,
    Code.DeadlineExceeded,
    `${answer.workflowId} was not seen ${seen} within ${formatDuration(waited)}; ${stands}. ` +
      `Look again: mctl get ${answer.workflowId}`,
  );
}

/** The options of a control call, whose wait comes on top of the timeout. */
export function controlCall(session: Session, flags: ControlFlags) {
  return session.call(waitMs(flags));
}
