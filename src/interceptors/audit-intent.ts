import type { Interceptor } from "@connectrpc/connect";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { callOf } from "./context.ts";
import { callEntry } from "./entry.ts";
import { governanceOf } from "./governance.ts";

/** Nothing happens unseen: the INTENT or READ entry is durable before the service runs. Where it cannot be, nothing runs. */
export function auditIntentLink(ledger: Ledger): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const entry = callEntry(call, req.method, call.request);
    if (governanceOf(req.method).audit === "CONTROL") {
      if (call.requestDigest === undefined) throw new Error("a control call came past validation without its request");
      entry.phase = AuditEntry_Phase.INTENT;
      if (call.signature !== undefined) entry.requestSignature = call.signature;
      entry.requestDigest = call.requestDigest;
    } else {
      entry.phase = AuditEntry_Phase.READ;
    }
    // A caller who is gone by now gets nothing done.
    req.signal.throwIfAborted();
    try {
      call.entryId = (await ledger.append(entry)).entryId;
    } catch (error) {
      call.unrecordable = error;
      throw error;
    }
    call.audited = true;
    return next(req);
  };
}
