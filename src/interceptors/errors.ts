import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { callKey } from "./context.ts";

/** Every failure leaves the chain as a ConnectError with ErrorInfo; what we did not foresee is logged in full and told as INTERNAL. */
export function errorLink(log: Logger): Interceptor {
  return (next) => async (req) => {
    const mapped = (error: unknown): ConnectError => {
      const result = toConnectError(error, req.signal);
      if (result.code === Code.Internal || result.code === Code.Unknown) {
        log.error({ err: error, callId: req.contextValues.get(callKey)?.id, method: req.method.name }, "call failed");
      }
      return result;
    };
    try {
      const res = await next(req);
      if (!res.stream) return res;
      return { ...res, message: mapIterable(res.message, mapped) };
    } catch (error) {
      throw mapped(error);
    }
  };
}

async function* mapIterable<T>(source: AsyncIterable<T>, mapped: (error: unknown) => ConnectError): AsyncIterable<T> {
  try {
    yield* source;
  } catch (error) {
    throw mapped(error);
  }
}

/**
 * The one place where a failure becomes a gRPC code with google.rpc.ErrorInfo.
 *
 * @param signal of the call: where it was aborted, its reason says whether the caller left or the deadline passed.
 */
export function toConnectError(error: unknown, signal?: AbortSignal): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof MissionControlError) {
    const result = new ConnectError(error.message, error.code, undefined, undefined, error);
    result.details.push({
      desc: ErrorInfoSchema,
      value: { reason: error.reason, domain: "missioncontrol", metadata: { ...error.metadata } },
    });
    if (error.violations.length > 0) {
      result.details.push({ desc: BadRequestSchema, value: { fieldViolations: [...error.violations] } });
    }
    return result;
  }
  if (error instanceof Error && error.name === "AbortError") {
    if (signal?.reason instanceof ConnectError) return signal.reason;
    return new ConnectError("the call was cancelled", Code.Canceled);
  }
  return toConnectError(
    new MissionControlError("INTERNAL", "something went wrong here; the server's log has it under this x-request-id", {
      cause: error,
    }),
  );
}

/** The gRPC name of a code, e.g. "PERMISSION_DENIED"; undefined stands for success. */
export function codeName(code: Code | undefined): string {
  if (code === undefined) return "OK";
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** The ErrorInfo reason of an error; "" where it carries none. */
export function reasonOf(error: ConnectError): string {
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
}
