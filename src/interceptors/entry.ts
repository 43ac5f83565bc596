import type { DescMethod, Message } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { EntryInit } from "../ledger/ledger.ts";
import type { Call } from "./context.ts";
import { codeName, reasonOf } from "./errors.ts";
import { governanceOf } from "./governance.ts";
import { requestFacts } from "./request.ts";

/**
 * What every entry of a call says. Of the request only the fields named here enter the ledger, and those of a caller who was
 * not authenticated not at all: a stranger writes nothing of theirs into it.
 */
export function callEntry(call: Call, method: DescMethod, request: Message | undefined): EntryInit {
  const facts = requestFacts(method, call.principal && request);
  return {
    ...arrival(call),
    action: governanceOf(method).action,
    target: call.target?.workflowId ?? facts.target,
    engine: call.target?.engine ?? "",
    reason: facts.reason,
    emergency: facts.emergency,
    requestId: facts.requestId,
    decision: call.decision,
    brakeId: call.brakeId ?? "",
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
