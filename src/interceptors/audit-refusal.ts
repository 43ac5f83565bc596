import type { ConnectError } from "@connectrpc/connect";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Reason } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Call } from "./context.ts";
import { arrival, ending } from "./entry.ts";

/**
 * Records a refusal that never reached the chain (no token, a body that does not parse, an unknown path, …), once for a call.
 * To be awaited before the answer leaves. Rejects with LEDGER_UNAVAILABLE: then that is the answer.
 */
export function auditRefusal(ledger: Ledger): (call: Call, error: ConnectError) => Promise<void> {
  return async (call, error) => {
    if (call.audited) return;
    const entry = { ...arrival(call), ...ending(call, error), phase: AuditEntry_Phase.DENIED };
    // Why a request could not be read quotes the request, and nobody knows yet whose it is.
    if (entry.errorReason === ("INVALID_ARGUMENT" satisfies Reason)) entry.message = "";
    await ledger.append(entry);
    call.audited = true;
  };
}
