import { readFile } from "node:fs/promises";
import { toJsonString } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AuditEntry,
  AuditEntry_PhaseSchema,
  AuditEntrySchema,
  AuditEntry_Phase as Phase,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { post } from "../post.ts";
import { RejectedError, type Sink } from "./sink.ts";

/**
 * Answers about what was sent: it comes to nothing to send the same again. Every other failure is one of the collector's, of the
 * way to it, or of the token: what was sent is good, and waits until that is mended.
 */
const rejections: ReadonlySet<number> = new Set([400, 413, 422]);

export interface OtlpOptions {
  readonly name: string;
  /** The collector's endpoint for logs, whole: https://collector.internal:4318/v1/logs */
  readonly url: URL;
  /** A file with a bearer token, read for each request. */
  readonly tokenFile?: string | undefined;
  /** PEM file with whom the collector's certificate has to be from. */
  readonly caFile?: string | undefined;
  /** Of this server, for the resource. */
  readonly version: string;
}

/**
 * Entries as OpenTelemetry log records, by OTLP over HTTP in its JSON form. The SDK's exporters drop what a receiver does not
 * take in time, and tell nobody which records it has: this asks for the answer, and delivers again without one.
 */
export class OtlpSink implements Sink {
  readonly name: string;
  readonly #options: OtlpOptions;

  constructor(options: OtlpOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async deliver(entries: readonly AuditEntry[], signal: AbortSignal): Promise<void> {
    const { url, tokenFile, caFile, version } = this.#options;
    const token = tokenFile && (await readFile(tokenFile, "utf8")).trim();
    const ca = caFile && (await readFile(caFile));
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const body = JSON.stringify(toOtlp(entries, version));
    const { status, text } = await post(url, body, { headers, signal, ...(ca && { ca }) });
    if (rejections.has(status)) throw new RejectedError(`the collector answered ${status}`);
    if (status !== 200) throw new Error(`the collector answered ${status}`);
    const rejected = rejectedOf(text);
    if (rejected !== "") throw new RejectedError(`the collector rejected entries: ${rejected}`);
  }
}

/** Why the collector did not take all of them; "" where it did. */
function rejectedOf(body: string): string {
  try {
    const { rejectedLogRecords = 0, errorMessage = "" } = JSON.parse(body).partialSuccess ?? {};
    return Number(rejectedLogRecords) > 0 ? `${rejectedLogRecords} ${String(errorMessage).slice(0, 200)}` : "";
  } catch {
    return "";
  }
}

function toOtlp(entries: readonly AuditEntry[], version: string) {
  return {
    resourceLogs: [
      {
        resource: { attributes: [text("service.name", "mission-control"), text("service.version", version)] },
        scopeLogs: [{ scope: { name: "missioncontrol.ledger" }, logRecords: entries.map(toRecord) }],
      },
    ],
  };
}

function toRecord(entry: AuditEntry) {
  const time = String(BigInt(entry.time ? timestampMs(entry.time) : 0) * 1_000_000n);
  const phase = AuditEntry_PhaseSchema.value[entry.phase]?.name ?? "";
  const warn = entry.phase === Phase.DENIED || entry.emergency || entry.fromFallback;
  const attributes = Object.entries({
    "missioncontrol.entry_id": entry.entryId,
    "missioncontrol.phase": phase,
    "missioncontrol.action": entry.action,
    "missioncontrol.target": entry.target,
    "missioncontrol.engine": entry.engine,
    "missioncontrol.brake_id": entry.brakeId,
    "missioncontrol.call_id": entry.callId,
    "missioncontrol.intent_entry_id": entry.intentEntryId,
    "missioncontrol.result_code": entry.resultCode,
    "missioncontrol.error_reason": entry.errorReason,
    "missioncontrol.ticket": entry.ticket,
    "enduser.id": entry.principal?.subject ?? "",
  });
  return {
    timeUnixNano: time,
    observedTimeUnixNano: time,
    severityNumber: warn ? 13 : 9,
    severityText: warn ? "WARN" : "INFO",
    eventName: `missioncontrol.ledger.${phase.toLowerCase()}`,
    body: { stringValue: toJsonString(AuditEntrySchema, entry) },
    attributes: [
      { key: "missioncontrol.sequence", value: { intValue: String(entry.sequence) } },
      ...attributes.filter(([, value]) => value !== "").map(([key, value]) => text(key, value)),
    ],
  };
}

function text(key: string, value: string) {
  return { key, value: { stringValue: value } };
}
