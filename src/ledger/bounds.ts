import type { AuditEntry, Decision, Principal } from "../../gen/missioncontrol/v1/audit_log_pb.ts";

const maxText = 1024;
const maxTarget = 512;
const maxName = 256;
const maxItems = 32;

/**
 * The entry with what came from outside cut to what an entry may hold, so that no caller can fill the ledger's disk with one
 * call, and with what is not text (lone surrogates) replaced, so that a name cannot keep its own denial out of the ledger.
 */
export function bounded(entry: AuditEntry): AuditEntry {
  return {
    ...entry,
    action: cut(entry.action),
    method: cut(entry.method),
    protocol: cut(entry.protocol),
    target: cut(entry.target, maxTarget),
    callId: cut(entry.callId),
    requestId: cut(entry.requestId),
    reason: cut(entry.reason, maxText),
    engine: cut(entry.engine),
    brakeId: cut(entry.brakeId),
    intentEntryId: cut(entry.intentEntryId),
    resultCode: cut(entry.resultCode),
    errorReason: cut(entry.errorReason),
    message: cut(entry.message, maxText),
    ...(entry.principal && { principal: boundedPrincipal(entry.principal) }),
    ...(entry.decision && { decision: boundedDecision(entry.decision) }),
  };
}

function boundedPrincipal(principal: Principal): Principal {
  return {
    ...principal,
    issuer: cut(principal.issuer),
    subject: cut(principal.subject),
    roles: cutAll(principal.roles),
    tokenId: cut(principal.tokenId),
    authenticationMethod: cut(principal.authenticationMethod),
    sourceAddress: cut(principal.sourceAddress),
  };
}

function boundedDecision(decision: Decision): Decision {
  return {
    ...decision,
    message: cut(decision.message, maxText),
    policyIds: cutAll(decision.policyIds),
    policySetHash: cut(decision.policySetHash),
    bypassed: cutAll(decision.bypassed),
  };
}

function cut(text: string, length = maxName): string {
  return (text.length > length ? text.slice(0, length) : text).toWellFormed();
}

function cutAll(texts: string[]): string[] {
  return texts.slice(0, maxItems).map((text) => cut(text));
}
