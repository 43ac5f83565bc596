import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  type AuditEntry,
  AuditEntry_PhaseSchema,
  AuditEntrySchema,
  ListAuditEntriesResponseSchema,
  AuditEntry_Phase as Phase,
  AuditEntry_Verdict as Verdict,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type ExitCode, exitCodes } from "../failure.ts";
import { enumValue, examples, list, moment, nonEmpty, positiveInteger } from "../options.ts";
import { collectPages } from "../paging.ts";
import { type Flags, type Host, type Session, withSession } from "../session.ts";
import type { Style, Terminal } from "../terminal.ts";
import { enumName } from "../view/enum.ts";
import { writeJson } from "../view/json.ts";
import { type Column, renderTable } from "../view/table.ts";
import { printable } from "../view/text.ts";
import { dateTime } from "../view/time.ts";
import { auditErase } from "./audit/erase.ts";
import { auditExport } from "./audit/export.ts";
import { followEntries } from "./audit/follow.ts";
import { auditReceipt } from "./audit/receipt.ts";
import { auditRotateKey } from "./audit/rotate-key.ts";
import { auditVerify } from "./audit/verify.ts";

interface AuditListFlags extends Flags {
  readonly subject?: string;
  readonly action?: string[];
  readonly target?: string;
  readonly phase?: Phase[];
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly callId?: string;
  readonly requestId?: string;
  readonly brake?: string;
  readonly verdict?: Verdict;
  readonly limit: number;
  readonly all?: boolean;
  readonly follow?: boolean;
}

export function auditCommand(program: Command, host: Host): void {
  const audit = program
    .command("audit")
    .description("Read the ledger: every call, denied ones too.")
    .addHelpText("after", examples("mctl audit list", "mctl audit list --phase DENIED --since 1d"));
  audit
    .command("list")
    .description("List ledger entries, the newest first.")
    .option("--subject <name>", "only by this caller")
    .option("--action <names>", "only these actions, e.g. runtime.pause,runtime.resume", list(nonEmpty))
    .option("--target <workflow-id>", "only about this workflow, by its full workflow_id")
    .option(
      "--phase <names>",
      "only these phases: INTENT, OUTCOME, DENIED, READ, SYSTEM",
      list(enumValue<Phase>(Phase)),
    )
    .option("--since <when>", "written at or after: an age like 1h, or an RFC 3339 time", moment)
    .option("--until <when>", "written before: an age like 10m, or an RFC 3339 time", moment)
    .option("--call-id <id>", "only of this call, by its x-request-id")
    .option("--request-id <uuid>", "only of requests with this request_id (idempotency key)")
    .option("--brake <brake-id>", "only about this brake")
    .option(
      "--verdict <verdict>",
      "only calls that were ALLOWED, or REFUSED by identity, roles or policy",
      enumValue<Verdict>(Verdict),
    )
    .option("--limit <n>", "how many at the most", positiveInteger, 100)
    .option("--all", "all of them, however many pages")
    .addOption(
      new Option("--follow", "then show what comes, the oldest first, until Ctrl-C").conflicts(["until", "all"]),
    )
    .addHelpText(
      "after",
      examples(
        "mctl audit list --action runtime.pause,runtime.resume --since 1d",
        "mctl audit list --phase DENIED --subject mallory",
        "mctl audit list --follow --phase INTENT,DENIED",
        "mctl audit list --target restate:inv_1abc -o json | jq '.entries[]'",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<AuditListFlags>();
      await withSession(host, flags, async (session) => {
        const { auditLog, settings, terminal, call } = session;
        const wanted = wantedBy(flags);
        const until = flags.until && { until: flags.until };
        const { items, nextPageToken } = await collectPages(
          flags.all ? Number.POSITIVE_INFINITY : flags.limit,
          1000,
          async (pageSize, pageToken) => {
            const page = await auditLog.listAuditEntries({ ...wanted, ...until, pageSize, pageToken }, call());
            return { items: page.entries, nextPageToken: page.nextPageToken };
          },
        );
        if (flags.follow) return showAll(session, items.reverse(), wanted);
        if (settings.output === "json") {
          const all = create(ListAuditEntriesResponseSchema, { entries: items, nextPageToken });
          writeJson(terminal, ListAuditEntriesResponseSchema, all);
          return undefined;
        }
        if (items.length > 0) terminal.write(renderTable(columns, items, terminal));
        else terminal.note("No entry matches.\n");
        if (nextPageToken !== "") terminal.note(`The newest ${items.length}; there are more: --limit or --all.\n`);
        return undefined;
      });
    });
  auditVerify(audit, host);
  auditReceipt(audit, host);
  auditExport(audit, host);
  auditRotateKey(audit, host);
  auditErase(audit, host);
}

/** What `list` and `--follow` ask for alike. */
function wantedBy(flags: AuditListFlags) {
  return {
    subject: flags.subject ?? "",
    action: flags.action ?? [],
    target: flags.target ?? "",
    phase: flags.phase ?? [],
    ...(flags.since && { since: flags.since }),
    callId: flags.callId ?? "",
    requestId: flags.requestId ?? "",
    brakeId: flags.brake ?? "",
    verdict: flags.verdict ?? Verdict.VERDICT_UNSPECIFIED,
  };
}

/** Those that there are, then those that come; in JSON each on a line of its own. */
async function showAll(
  session: Session,
  there: readonly AuditEntry[],
  wanted: ReturnType<typeof wantedBy>,
): Promise<ExitCode> {
  const { settings, terminal, signal } = session;
  const json = settings.output === "json";
  const show = (entry: AuditEntry) =>
    json ? writeJson(terminal, AuditEntrySchema, entry) : terminal.write(entryLine(entry, terminal));
  for (const entry of there) show(entry);
  try {
    for await (const entry of followEntries(session, wanted, there.at(-1)?.sequence ?? 0n)) show(entry);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  // Ctrl-C is how it ends.
  return exitCodes.ok;
}

function entryLine(entry: AuditEntry, terminal: Terminal): string {
  const phase = enumName(AuditEntry_PhaseSchema, entry.phase);
  const head = `${String(entry.sequence).padStart(6)}  ${entry.time ? dateTime(entry.time) : ""}  `;
  const rest = [who(entry), entry.action, result(entry), entry.target, why(entry)].filter((part) => part !== "");
  const text = printable(rest.join("  "));
  return `${head}${terminal.paint(phase.padEnd(7), phaseStyles[entry.phase])}  ${text}\n`;
}

const phaseStyles: Partial<Record<Phase, Style>> = {
  [Phase.INTENT]: "bold",
  [Phase.DENIED]: ["bold", "red"],
  [Phase.READ]: "gray",
  [Phase.SYSTEM]: "blue",
};

const columns: readonly Column<AuditEntry>[] = [
  { header: "#", value: (entry) => String(entry.sequence) },
  { header: "TIME", value: (entry) => (entry.time ? dateTime(entry.time) : "") },
  {
    header: "PHASE",
    value: (entry) => enumName(AuditEntry_PhaseSchema, entry.phase),
    style: (entry) => phaseStyles[entry.phase],
  },
  { header: "WHO", value: who, minWidth: 8 },
  { header: "ACTION", value: (entry) => entry.action, minWidth: 12 },
  { header: "RESULT", value: result },
  { header: "TARGET", value: (entry) => entry.target, minWidth: 20, optional: true },
  { header: "WHY", value: why, minWidth: 16, optional: true },
];

function who(entry: AuditEntry): string {
  if (entry.phase === Phase.SYSTEM) return "(system)";
  return entry.principal?.subject || entry.principal?.sourceAddress || "-";
}

function result(entry: AuditEntry): string {
  return entry.errorReason || entry.resultCode;
}

function why(entry: AuditEntry): string {
  const flood = entry.count > 1n ? `(${entry.count} times)` : "";
  return [entry.emergency ? "EMERGENCY" : "", entry.reason && `"${entry.reason}"`, entry.message, flood]
    .filter(Boolean)
    .join(" ");
}
