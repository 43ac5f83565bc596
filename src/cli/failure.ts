import { create, createRegistry, type JsonObject, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  file_google_rpc_error_details,
} from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { ProofError } from "../proof/proof-error.ts";
import { brakeLine } from "./command-line.ts";
import { printable } from "./view/text.ts";

/** What mctl's exit codes mean; scripts rely on them. */
export const exitCodes = {
  ok: 0,
  error: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  failedPrecondition: 5,
  unavailable: 6,
  /** The wait ended before the standstill (or, on resume, a move) was seen. */
  waitEnded: 7,
  /** The brake holds nothing yet: a second person has to approve it. */
  awaitingApproval: 8,
  /** What was to be verified is not what it should be. */
  notVerified: 9,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A failure found on this side of the wire. */
export class CliFailure extends Error {
  override readonly name = "CliFailure";
  readonly exitCode: ExitCode;
  readonly code: Code;

  constructor(exitCode: ExitCode, code: Code, message: string) {
    super(message);
    this.exitCode = exitCode;
    this.code = code;
  }
}

/** Wrong flags, arguments, environment or config file. */
export function usageFailure(message: string): CliFailure {
  return new CliFailure(exitCodes.usage, Code.InvalidArgument, message);
}

/** The failure of a control call whose effect is not known: the same request_id makes it safe to ask again. */
export class UnsureFailure extends Error {
  override readonly name = "UnsureFailure";
  override readonly cause: ConnectError;
  readonly requestId: string;

  constructor(cause: ConnectError, requestId: string) {
    super(cause.rawMessage);
    this.cause = cause;
    this.requestId = requestId;
  }
}

const unsure: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unknown,
  Code.Internal,
]);

/** Marks a control call's failure as unsure where the server may have acted all the same. */
export function controlFailure(error: unknown, requestId: string): unknown {
  return error instanceof ConnectError && unsure.has(error.code) ? new UnsureFailure(error, requestId) : error;
}

/** A failure, ready to be shown. */
export interface Report {
  readonly exitCode: ExitCode;
  /** For people: one sentence, then a line for each fact. */
  readonly text: string;
  /** google.rpc.Status in JSON. */
  readonly status: JsonObject;
}

/** Turns whatever was thrown into what the user is told. `server` is where the call went. */
export function reportFailure(error: unknown, server: string | undefined): Report {
  if (error instanceof CliFailure) {
    return {
      exitCode: error.exitCode,
      text: `mctl: ${printable(error.message, true)}\n`,
      status: { code: error.code, message: error.message },
    };
  }
  if (error instanceof UnsureFailure) {
    const report = reportFailure(error.cause, server);
    const advice = `It may have been done all the same. To ask again without doing it twice: --request-id ${error.requestId}`;
    return { ...report, text: `${report.text}  ${advice}\n` };
  }
  if (error instanceof ProofError) {
    return {
      exitCode: exitCodes.notVerified,
      text: `NOT VERIFIED: ${printable(error.message)}\n`,
      status: { code: Code.DataLoss, message: error.message },
    };
  }
  if (error instanceof ConnectError) return reportConnectError(error, server);
  const message = error instanceof Error ? error.message : String(error);
  return {
    exitCode: exitCodes.error,
    text: `mctl: ${printable(message)}\n`,
    status: { code: Code.Unknown, message },
  };
}

function reportConnectError(error: ConnectError, server: string | undefined): Report {
  const info = error.findDetails(ErrorInfoSchema)[0];
  // What never got an answer has no ErrorInfo: the text is then Node's own.
  const message =
    info === undefined && error.code === Code.Unavailable && server !== undefined
      ? `cannot reach ${server}: ${error.rawMessage}`
      : info === undefined && error.code === Code.DeadlineExceeded && server !== undefined
        ? `no answer from ${server} in time; --timeout sets how long mctl waits`
        : error.rawMessage;
  const lines = [`mctl: ${printable(message)} (${info?.reason ? printable(info.reason) : codeName(error.code)})`];
  for (const violation of error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations)) {
    lines.push(`  ${printable(violation.field)}: ${printable(violation.description)}`);
  }
  for (const [key, value] of Object.entries(info?.metadata ?? {})) {
    lines.push(`  ${printable(key.replaceAll("_", " "))}: ${printable(value)}`);
  }
  // Header and trailer may both carry it.
  const callId = error.metadata.get("x-request-id")?.split(",")[0];
  if (callId) lines.push(`  call id: ${printable(callId)}`);
  lines.push(...adviceFor(error, info).map((advice) => `  ${advice}`));
  return { exitCode: exitCodeOf(error.code), text: `${lines.join("\n")}\n`, status: statusJson(error, message) };
}

function adviceFor(error: ConnectError, info: ErrorInfo | undefined): string[] {
  if (error.code === Code.Unauthenticated) {
    return [
      "Give a token with --token-file, --token, MCTL_TOKEN or a context in the config file; mctl token makes one in dev mode.",
    ];
  }
  if (error.code === Code.Unavailable && info === undefined) {
    return ["Is it running there? npm start starts one here; --server names another."];
  }
  if (error.code === Code.FailedPrecondition) return holdersAdvice(info?.metadata.brake_ids ?? "");
  return [];
}

/** How many brakes are given with their lines, at the most. */
const maxAdvised = 5;

/** What to type about the brakes that keep a workflow from going on. */
function holdersAdvice(brakeIds: string): string[] {
  const ids = brakeIds
    .split(",")
    .map((id) => id.trim())
    .filter(Boolean);
  if (ids.length === 0) return [];
  return [
    "To look at what holds it, and to let it go for all that it holds:",
    ...ids.slice(0, maxAdvised).flatMap((id) => [`  ${brakeLine("get", id)}`, `  ${brakeLine("release", id)}`]),
    ...(ids.length > maxAdvised ? [`  and the same for ${ids.length - maxAdvised} more`] : []),
  ];
}

/** The exit code of a gRPC code. */
export function exitCodeOf(code: Code): ExitCode {
  switch (code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return exitCodes.usage;
    case Code.NotFound:
      return exitCodes.notFound;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exitCodes.denied;
    case Code.FailedPrecondition:
    case Code.Aborted:
    case Code.AlreadyExists:
      return exitCodes.failedPrecondition;
    case Code.Unavailable:
    case Code.DeadlineExceeded:
      return exitCodes.unavailable;
    default:
      return exitCodes.error;
  }
}

/** "FailedPrecondition" as gRPC writes it: "FAILED_PRECONDITION". */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

const detailTypes = createRegistry(file_google_rpc_error_details);

function statusJson(error: ConnectError, message: string): JsonObject {
  const details = error.details.flatMap((detail) =>
    "type" in detail && detailTypes.getMessage(detail.type) !== undefined
      ? [{ typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value }]
      : [],
  );
  const status = create(StatusSchema, { code: error.code, message, details });
  return toJson(StatusSchema, status, { registry: detailTypes }) as JsonObject;
}
