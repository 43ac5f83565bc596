import { type Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** A failure as Mission Control's servers tell it. */
export function failure(
  code: Code,
  message: string,
  info: { reason: string; metadata?: Record<string, string>; violations?: { field: string; description: string }[] },
): ConnectError {
  const { reason, metadata = {}, violations = [] } = info;
  return new ConnectError(message, code, { "x-request-id": "call-7" }, [
    { desc: ErrorInfoSchema, value: { reason, domain: "missioncontrol", metadata } },
    ...(violations.length > 0 ? [{ desc: BadRequestSchema, value: { fieldViolations: violations } }] : []),
  ]);
}
