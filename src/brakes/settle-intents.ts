import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Store } from "../store/store.ts";

/**
 * Ends the intents that a crash left open, before anything else is done. Whether an intent took effect is a fact of the
 * database: the brake that it engaged or released names its entry, or the revocation or the gate token does. What a brake then means for the
 * engine is the reconciler's to make true.
 */
export async function settleIntents(store: Store, ledger: Ledger): Promise<number> {
  const open = await store.openIntents();
  for (const intent of open) {
    const brake = await store.brakeOfIntent(intent.entryId);
    const done =
      brake !== undefined ||
      (await store.revocationOfIntent(intent.entryId)) !== undefined ||
      (await store.gateTokenOfIntent(intent.entryId)) !== undefined;
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
      resultCode: done ? "OK" : "ABORTED",
      message: done
        ? "settled at start: it had taken effect before the server stopped"
        : "settled at start: the server stopped before it took effect",
    });
  }
  return open.length;
}
