import type { Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { LateOutcomes } from "../ledger/late-outcomes.ts";
import type { EntryInit, Ledger } from "../ledger/ledger.ts";
import type { Refusals } from "../ledger/refusals.ts";
import type { Logger } from "../log.ts";
import { type Call, callOf } from "./context.ts";
import { callEntry, ending } from "./entry.ts";
import { toConnectError } from "./errors.ts";
import { governanceOf } from "./governance.ts";
import { withEnd } from "./stream-end.ts";

/**
 * The last word on every call, before its answer leaves: DENIED where a link refused it before its INTENT or READ entry,
 * OUTCOME where that entry is there (for reads only when they fail, or when a stream ends).
 *
 * A DENIED entry that cannot be written (see Refusals for floods) makes the answer LEDGER_UNAVAILABLE. An OUTCOME that cannot be written changes no
 * answer, for what happened has happened: it is an alarm, and the intent stays open until it can be written.
 */
export function auditOutcomeLink(
  ledger: Ledger,
  refusals: Refusals,
  lateOutcomes: LateOutcomes,
  log: Logger,
): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { audit } = governanceOf(req.method);
    const entry = (): EntryInit => callEntry(call, req.method, req.stream ? call.request : (req.message as Message));

    const outcome = async (error: unknown): Promise<void> => {
      const failure = error === undefined ? undefined : toConnectError(error, req.signal);
      const result: EntryInit = { ...entry(), ...ending(call, failure), phase: AuditEntry_Phase.OUTCOME };
      if (call.entryId !== undefined) result.intentEntryId = call.entryId;
      if (call.observedStatus !== undefined) result.observedStatus = call.observedStatus;
      try {
        await ledger.append(result, call.also);
      } catch (fault) {
        alarm(log, call, result, fault);
        lateOutcomes.add(result, call.also?.answers);
      }
    };
    const denied = async (error: unknown): Promise<void> => {
      if (call.unrecordable !== undefined) throw call.unrecordable;
      const failure = toConnectError(error, req.signal);
      try {
        await refusals.record({ ...entry(), ...ending(call, failure), phase: AuditEntry_Phase.DENIED });
      } catch (fault) {
        call.unrecordable = fault;
        throw fault;
      }
      call.audited = true;
    };

    try {
      const res = await next(req);
      if (res.stream) return { ...res, message: withEnd(res.message, req.signal, outcome) };
      if (audit === "CONTROL") await outcome(undefined);
      return res;
    } catch (error) {
      if (call.entryId === undefined) await denied(error);
      else await outcome(error);
      throw error;
    }
  };
}

function alarm(log: Logger, call: Call, result: EntryInit, fault: unknown): void {
  log.error(
    { err: fault, callId: call.id, intentEntryId: call.entryId, code: result.resultCode, brakeId: call.brakeId },
    "ALARM: how a call ended could not be written to the ledger: its intent stays open until it can",
  );
}
