import type { DescMethod, Message } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { EntryInit } from "../ledger/ledger.ts";
import type { Call } from "./context.ts";
import { codeName, reasonOf } from "./errors.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";
import { requestFields } from "./request-fields.ts";

/**
 * What every entry of a call says. Of the request only the fields named here enter the ledger, and those of a caller who was
 * not authenticated not at all: a stranger writes nothing of theirs into it.
 */
export function callEntry(call: Call, method: DescMethod, request: Message | undefined): EntryInit {
  const own = call.principal && request;
  const facts = requestFacts(method, own);
  const { action, audit } = governanceOf(method);
  return {
    ...arrival(call),
    action,
    target: call.target?.workflowId ?? facts.target,
    engine: call.target?.engine ?? "",
    reason: facts.reason,
    emergency: facts.emergency,
    requestId: facts.requestId,
    decision: call.decision,
    ticket: facts.ticket,
    brakeId: call.brakeId ?? facts.brakeId,
    ...(audit === "CONTROL" && { requestFields: requestFields(method, own) }),
  };
}

/** What an entry of a call says that did not reach an RPC. */
export function arrival(call: Call): EntryInit {
  const { principal, source } = call;
  return {
    principal: { ...(principal && { ...principal, roles: [...principal.roles] }), sourceAddress: source },
    action: "unknown",
    method: call.method,
    protocol: call.protocol,
    callId: call.id,
  };
}

/** What an entry says about how a call ended; undefined stands for success. */
export function ending(call: Call, error: ConnectError | undefined): EntryInit {
  return {
    resultCode: codeName(error?.code),
    errorReason: error === undefined ? "" : reasonOf(error),
    message: [error?.rawMessage ?? "", unsaid(error)].filter(Boolean).join("; "),
    duration: durationFromMs(Date.now() - call.startTime),
  };
}

function unsaid(error: ConnectError | undefined): string {
  return error?.cause instanceof MissionControlError ? error.cause.unsaid : "";
}
