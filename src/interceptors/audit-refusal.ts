import type { DescService } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Reason } from "../errors.ts";
import type { EntryInit } from "../ledger/ledger.ts";
import type { Refusals } from "../ledger/refusals.ts";
import type { Call } from "./context.ts";
import { arrival, ending } from "./entry.ts";
import { governanceOf } from "./governance.ts";

/**
 * Records a refusal that never reached the chain (no token, a body that does not parse, an unknown path, …), once for a call.
 * To be awaited before the answer leaves. Rejects with LEDGER_UNAVAILABLE: then that is the answer.
 *
 * @param services whose RPCs are recorded by their actions; what is none of them is "unknown".
 */
export function auditRefusal(
  refusals: Refusals,
  services: readonly DescService[] = [],
): (call: Call, error: ConnectError) => Promise<void> {
  const actions = new Map(
    services
      .flatMap((service) => service.methods)
      .map((method) => [`${method.parent.typeName}/${method.name}`, governanceOf(method).action]),
  );
  return async (call, error) => {
    if (call.audited) return;
    const entry: EntryInit = { ...arrival(call), ...ending(call, error), phase: AuditEntry_Phase.DENIED };
    const action = actions.get(call.method);
    if (action !== undefined) entry.action = action;
    // Why a request could not be read quotes it, and only fields that are named enter the ledger.
    if (entry.errorReason === ("INVALID_ARGUMENT" satisfies Reason)) entry.message = "";
    await refusals.record(entry);
    call.audited = true;
  };
}
