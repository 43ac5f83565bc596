import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AuditLog, ListAuditEntriesResponseSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { LedgerProofs } from "../ledger/proofs.ts";
import type { Store } from "../store/store.ts";
import { auditProofs } from "./audit-proofs.ts";

const defaultPage = 100;

/** The AuditLog service: translate, call, translate. */
export function auditLogService(store: Store, proofs: LedgerProofs): ServiceImpl<typeof AuditLog> {
  return {
    ...auditProofs(proofs),

    async listAuditEntries(request) {
      const limit = request.pageSize || defaultPage;
      const entries = await store.listEntries({
        subject: request.subject || undefined,
        actions: request.action.length === 0 ? undefined : request.action,
        target: request.target || undefined,
        callId: request.callId || undefined,
        phases: request.phase.length === 0 ? undefined : request.phase,
        since: request.since && timestampMs(request.since),
        until: request.until && timestampMs(request.until),
        before: sequenceOf(request.pageToken),
        limit: limit + 1,
      });
      const page = entries.slice(0, limit);
      return create(ListAuditEntriesResponseSchema, {
        entries: page,
        nextPageToken: entries.length > limit ? String(page.at(-1)?.sequence ?? "") : "",
      });
    },
  };
}

/** A page goes on before the sequence that the last one ended with: the ledger only grows at its other end. */
function sequenceOf(token: string): bigint | undefined {
  if (token === "") return undefined;
  if (/^\d{1,18}$/.test(token)) return BigInt(token);
  throw new MissionControlError("INVALID_PAGE_TOKEN", "this page_token is not of the ledger: begin without one", {
    violations: [{ field: "page_token", description: "not given out for the ledger" }],
  });
}
