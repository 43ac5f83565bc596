import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type { ExportAuditEntriesResponse } from "../../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { csvHeader, csvRow } from "../../../proof/csv.ts";
import { ExportVerifier, lineText } from "../../../proof/export.ts";
import { parseVerifierKey } from "../../../proof/verifier-key.ts";
import { type ExportSink, fileSink, streamSink } from "../../audit/export-file.ts";
import { exportOf } from "../../audit/stream.ts";
import { findTrust } from "../../audit/trust.ts";
import { usageFailure } from "../../failure.ts";
import { examples, sequence } from "../../options.ts";
import { startProgress } from "../../progress.ts";
import { type Flags, type Host, type Session, withSession } from "../../session.ts";
import { entriesProgress } from "../../view/entries-progress.ts";
import { renderVerified, verifiedJson } from "../../view/verified.ts";

interface ExportFlags extends Flags {
  readonly format?: "jsonl" | "csv";
  readonly bytesOnly?: boolean;
  readonly personal: boolean;
  readonly after: number;
  readonly key?: string;
}

export function auditExport(audit: Command, host: Host): void {
  audit
    .command("export")
    .description(
      "Export the ledger with what verifies it anywhere. Interrupted, the same command goes on where it was.",
    )
    .argument("[file]", "where to (default: standard output)")
    .addOption(
      new Option("--format <format>", "jsonl or csv (default: as the file is named, else jsonl)").choices([
        "jsonl",
        "csv",
      ]),
    )
    .option("--bytes-only", "only the entries' bytes, nothing readable: a third of the size")
    .option("--no-personal", "without who and why: only what commits to them")
    .option("--after <sequence>", "only what is behind this entry", sequence, 0)
    .option("--key <key>", "the log's public key, or a file with it (default: the one in the data directory)")
    .addHelpText(
      "after",
      examples(
        "mctl audit export ledger.jsonl",
        "mctl audit export ledger.csv",
        "mctl audit export | zstd > ledger.jsonl.zst",
      ),
    )
    .action(async (file: string | undefined, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ExportFlags>();
      const format = flags.format ?? (file?.endsWith(".csv") ? "csv" : "jsonl");
      if (flags.bytesOnly && format === "csv")
        throw usageFailure("--bytes-only leaves nothing for the columns of a CSV");
      const trust = findTrust(flags.key, host, flags);
      await withSession(host, flags, async (session) => {
        const { auditLog, terminal, call, settings } = session;
        const now = await auditLog.getCheckpoint({}, call());
        const trusted = trust?.key ?? parseVerifierKey(now.verifierKey);
        const verifier = new ExportVerifier({ trusted, after: flags.after });
        const sink = file === undefined ? streamSink(host.stdout) : await fileSink(resolve(host.cwd, file), verifier);
        if (verifier.isBegun && verifier.isCsv !== (format === "csv"))
          throw usageFailure(`${file} was begun in the other format: --format ${verifier.isCsv ? "csv" : "jsonl"}`);
        await copy(session, verifier, sink, { ...flags, format, total: Number(now.treeSize) });
        const verified = verifier.finish();
        if (file !== undefined) {
          if (settings.output === "json") terminal.write(verifiedJson(verified, trusted));
          else terminal.write(renderVerified(verified, trusted, terminal));
        }
        if (trust === undefined) {
          terminal.note(
            "Verified by the key that the server gave: verify it once more with one from elsewhere (--key).\n",
          );
        }
        return undefined;
      });
    });
}

/** Takes the export message by message, verifies each, and writes it. */
async function copy(
  session: Session,
  verifier: ExportVerifier,
  sink: ExportSink,
  options: Pick<ExportFlags, "bytesOnly" | "personal" | "after"> & { format: "jsonl" | "csv"; total: number },
): Promise<void> {
  const { terminal, signal } = session;
  const { format, bytesOnly = false, personal, total } = options;
  const isResumed = verifier.isBegun;
  const after = isResumed ? verifier.sequence : options.after;
  const progress = startProgress(terminal.notes, entriesProgress(terminal, "exported"));
  try {
    if (format === "csv" && !verifier.isCsv) {
      verifier.line(csvHeader);
      await sink.write(csvHeader);
    }
    const asked = { after, bytesOnly, withoutPersonal: !personal };
    for await (const message of exportOf(session, asked)) {
      if (message.line.case === "begin" && isResumed) continue;
      const line = textOf(message, format);
      verifier.line(line);
      await sink.write(line);
      progress.show({ done: verifier.sequence, of: Math.max(total, verifier.sequence) });
    }
  } catch (error) {
    if (signal.aborted) terminal.note("\nInterrupted: the same command goes on from here.\n");
    throw error;
  } finally {
    progress.end();
    await sink.end();
  }
}

function textOf(message: ExportAuditEntriesResponse, format: "jsonl" | "csv"): string {
  const { line } = message;
  if (format === "jsonl") return lineText(message);
  if (line.case !== "entry") return csvRow(message, undefined);
  const { entry, ...data } = line.value;
  return csvRow({ ...message, line: { case: "entry", value: data } }, entry);
}
