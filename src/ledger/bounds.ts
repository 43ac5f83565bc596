import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";

const maxText = 1024;
const maxTarget = 512;
const maxName = 256;
const maxItems = 32;

/**
 * Cuts what came from outside to what an entry may hold, so that no caller can fill the ledger's disk with one call, and
 * replaces what is not text (lone surrogates), so that a name cannot keep its own denial out of the ledger.
 */
export function boundEntry(entry: AuditEntry): void {
  for (const field of ["action", "method", "protocol", "callId", "requestId", "engine", "brakeId"] as const) {
    entry[field] = cut(entry[field], maxName);
  }
  for (const field of ["intentEntryId", "resultCode", "errorReason"] as const)
    entry[field] = cut(entry[field], maxName);
  entry.target = cut(entry.target, maxTarget);
  entry.reason = cut(entry.reason, maxText);
  entry.message = cut(entry.message, maxText);
  if (entry.principal !== undefined) {
    for (const field of ["issuer", "subject", "tokenId", "authenticationMethod", "sourceAddress"] as const) {
      entry.principal[field] = cut(entry.principal[field], maxName);
    }
    entry.principal.roles = cutAll(entry.principal.roles);
  }
  if (entry.decision !== undefined) {
    entry.decision.message = cut(entry.decision.message, maxText);
    entry.decision.policyIds = cutAll(entry.decision.policyIds);
  }
}

function cut(text: string, length: number): string {
  return (text.length > length ? text.slice(0, length) : text).toWellFormed();
}

function cutAll(texts: string[]): string[] {
  return texts.slice(0, maxItems).map((text) => cut(text, maxName));
}
