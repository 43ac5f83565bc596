import { readFile } from "node:fs/promises";
import { type IncomingMessage, request as plainRequest, type RequestOptions } from "node:http";
import { request as tlsRequest } from "node:https";
import { toJsonString } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AuditEntry,
  AuditEntry_PhaseSchema,
  AuditEntrySchema,
  AuditEntry_Phase as Phase,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Sink } from "./sink.ts";

/** The most that is read of an answer, bytes. */
const maxAnswer = 64 * 1024;

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
    const { version } = this.#options;
    const { status, body } = await this.#post(JSON.stringify(toOtlp(entries, version)), signal);
    if (status !== 200) throw new Error(`the collector answered ${status}`);
    const rejected = rejectedOf(body);
    if (rejected !== "") throw new Error(`the collector rejected entries: ${rejected}`);
  }

  async #post(body: string, signal: AbortSignal): Promise<{ status: number; body: string }> {
    const { url, tokenFile, caFile } = this.#options;
    const token = tokenFile && (await readFile(tokenFile, "utf8")).trim();
    const ca = caFile && (await readFile(caFile));
    const options: RequestOptions & { ca?: Buffer } = {
      method: "POST",
      signal,
      agent: false,
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      ...(ca && { ca }),
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const req = (url.protocol === "https:" ? tlsRequest : plainRequest)(url, options, resolve);
    req.on("error", reject);
    req.end(body);
    const answer = await promise;
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of answer) {
      length += chunk.length;
      if (length > maxAnswer) throw new Error("the collector's answer has no end");
      chunks.push(chunk);
    }
    return { status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
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
