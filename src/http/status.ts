import { create, createRegistry, type JsonObject, toJson } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import { file_buf_validate_validate } from "../../gen/buf/validate/validate_pb.ts";
import {
  type ErrorInfo,
  ErrorInfoSchema,
  file_google_rpc_error_details,
} from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import type { Reason } from "../errors.ts";

/** Every detail that an error of ours may carry. */
const registry = createRegistry(file_google_rpc_error_details, file_buf_validate_validate);

const statusByCode: Record<Code, number> = {
  [Code.Canceled]: 499,
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 504,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 400,
  [Code.Aborted]: 409,
  [Code.OutOfRange]: 400,
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};

/** HTTP has a sharper word for these than their gRPC code has. */
const statusByReason: Partial<Record<string, number>> = {
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  MESSAGE_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNSUPPORTED_ENCODING: 415,
} satisfies Partial<Record<Reason, number>>;

/** The HTTP status of an error on REST. */
export function httpStatusOf(error: ConnectError): number {
  return statusByReason[errorInfo(error)?.reason ?? ""] ?? statusByCode[error.code];
}

/** The error as google.rpc.Status in JSON. */
export function statusJson(error: ConnectError): JsonObject {
  const status = create(StatusSchema, {
    code: error.code,
    message: error.rawMessage,
    details: error.details.map(toAny).filter((detail) => registry.getMessage(typeName(detail)) !== undefined),
  });
  return toJson(StatusSchema, status, { registry }) as JsonObject;
}

/** The error's google.rpc.ErrorInfo, if it carries one. */
export function errorInfo(error: ConnectError): ErrorInfo | undefined {
  return error.findDetails(ErrorInfoSchema)[0];
}

function toAny(detail: ConnectError["details"][number]): Any {
  return "desc" in detail
    ? anyPack(detail.desc, create(detail.desc, detail.value))
    : create(AnySchema, { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value });
}

function typeName(any: Any): string {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
}
