import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Store } from "../store/store.ts";

/** Actions whose effect commits together with a row that names its intent: without one, they had none. */
const decided: ReadonlySet<string> = new Set([
  "runtime.pause",
  "runtime.resume",
  "runtime.brake",
  "runtime.brake.approve",
  "runtime.brake.release",
  "tokens.revoke",
  "gate_token.create",
  "gate_token.revoke",
]);

/** How an intent that a crash left open ended. */
const endings = {
  SUCCEEDED: { resultCode: "OK", message: "settled at start: it had taken effect before the server stopped" },
  FAILED: { resultCode: "ABORTED", message: "settled at start: the server stopped before it took effect" },
  INDETERMINATE: {
    resultCode: "UNKNOWN",
    message:
      "settled at start: the server stopped, and whether it had taken effect cannot be told: look, and repeat it where not",
  },
} as const;

/**
 * Ends the intents that a crash left open, before anything else is done. Whether an intent took effect is a fact of the
 * database: the brake that it engaged or released names its entry, or the revocation or the gate token does. What a brake then
 * means for the engine is the reconciler's to make true. Of actions that leave no such fact it is said that it cannot be told.
 */
export async function settleIntents(store: Store, ledger: Ledger): Promise<number> {
  const open = await store.openIntents();
  for (const intent of open) {
    const brake = await store.brakeOfIntent(intent.entryId);
    const done =
      brake !== undefined ||
      (await store.revocationOfIntent(intent.entryId)) !== undefined ||
      (await store.gateTokenOfIntent(intent.entryId)) !== undefined;
    const ending = done ? "SUCCEEDED" : decided.has(intent.action) ? "FAILED" : "INDETERMINATE";
    await ledger.append({
      phase: Phase.OUTCOME,
      ...(intent.principal ? { principal: intent.principal } : {}),
      action: intent.action,
      method: intent.method,
      target: intent.target,
      engine: intent.engine,
      callId: intent.callId,
      brakeId: brake?.brakeId ?? "",
      intentEntryId: intent.entryId,
      ...endings[ending],
    });
  }
  return open.length;
}
