import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  type AuditEntry,
  AuditEntrySchema,
  type ExportAuditEntriesResponse,
  ExportAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { ProofError } from "./proof-error.ts";

/** What of an entry has a column of its own, as the entry's JSON names it. */
export const columns = [
  "sequence",
  "time",
  "phase",
  "action",
  "principal.subject",
  "principal.issuer",
  "principal.roles",
  "principal.sourceAddress",
  "target",
  "engine",
  "brakeId",
  "resultCode",
  "errorReason",
  "observedStatus",
  "emergency",
  "reason",
  "ticket",
  "message",
  "decision.allowed",
  "decision.policyIds",
  "method",
  "protocol",
  "callId",
  "requestId",
  "intentEntryId",
  "duration",
  "count",
  "entryId",
] as const;

/** The first line of an export as CSV. `data` is the line of the JSONL form without its readable part: what is verified. */
export const csvHeader = [...columns, "data"].join(",");

/**
 * A line of an export as a row of CSV (RFC 4180), without its line break: one row is one line, whatever stands in it.
 *
 * @param entry the line's entry with its personal values, if it is one.
 */
export function csvRow(message: ExportAuditEntriesResponse, entry: AuditEntry | undefined): string {
  const json = entry === undefined ? {} : (toJson(AuditEntrySchema, entry) as JsonObject);
  const data = JSON.stringify(toJson(ExportAuditEntriesResponseSchema, message));
  return [...columns.map((column) => cell(json, column)), data].map(quoted).join(",");
}

/** The last cell of a row. Throws ProofError where it is none. */
export function csvData(row: string): string {
  const start = row.lastIndexOf(',"{');
  if (start === -1 || !row.endsWith('"')) throw new ProofError("a row of the export has no data");
  return row.slice(start + 2, -1).replaceAll('""', '"');
}

function cell(json: JsonObject, column: string): string {
  let value: JsonValue | undefined = json;
  for (const name of column.split(".")) value = (value as JsonObject | undefined)?.[name];
  const text = Array.isArray(value) ? value.join(" ") : String(value ?? "");
  const line = text.replace(/\p{Cc}+/gu, " ");
  // A spreadsheet must not take what somebody wrote for a formula.
  return /^[=+\-@]/.test(line) ? `'${line}` : line;
}

function quoted(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
