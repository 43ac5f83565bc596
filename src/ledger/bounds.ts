import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AuditEntry,
  AuditEntry_Phase,
  type AuditEntrySchema,
  type Decision,
  type DecisionSchema,
  type Principal,
  type PrincipalSchema,
  type RequestField,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Workflow_Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { hideTokens } from "../proof/secrets.ts";

/** What the writer of an entry sets; the ledger adds entry_id and time, and the store the rest. */
export type EntryInit = Omit<
  MessageInitShape<typeof AuditEntrySchema>,
  "entryId" | "sequence" | "time" | "commitments"
>;

const maxText = 1024;
const maxTarget = 512;
const maxName = 256;
const maxItems = 32;
const none = new Uint8Array(0);

/**
 * The entry with what came from outside cut to what an entry may hold, so that no caller can fill the ledger's disk with one
 * call, with what is not text (lone surrogates) replaced, so that a name cannot keep its own denial out of the ledger, and
 * without the tokens that somebody pasted into an id or a reason.
 */
export function boundedEntry(init: EntryInit, entryId: string, now: number): AuditEntry {
  const { principal, decision, duration, requestFields } = init;
  const entry: AuditEntry = {
    $typeName: "missioncontrol.v1.AuditEntry",
    entryId,
    sequence: 0n,
    time: timestampFromMs(now),
    phase: init.phase ?? AuditEntry_Phase.PHASE_UNSPECIFIED,
    action: cut(init.action),
    method: cut(init.method),
    protocol: cut(init.protocol),
    target: cut(init.target, maxTarget),
    callId: cut(init.callId),
    requestId: cut(init.requestId),
    requestDigest: init.requestDigest ?? none,
    reason: cut(init.reason, maxText),
    emergency: init.emergency ?? false,
    engine: cut(init.engine),
    brakeId: cut(init.brakeId),
    intentEntryId: cut(init.intentEntryId),
    resultCode: cut(init.resultCode),
    errorReason: cut(init.errorReason),
    observedStatus: init.observedStatus ?? Workflow_Status.STATUS_UNSPECIFIED,
    message: cut(init.message, maxText),
    count: init.count ?? 0n,
    ticket: cut(init.ticket),
    engineOperationId: cut(init.engineOperationId),
    requestFields: requestFields ? boundedFields(requestFields) : [],
    commitments: [],
    fromFallback: init.fromFallback ?? false,
    // Neither cut nor searched for tokens: what is another by one character is no signature any more.
    requestSignature: init.requestSignature ?? "",
  };
  if (principal) entry.principal = boundedPrincipal(principal);
  if (decision) entry.decision = boundedDecision(decision);
  if (duration) {
    const { seconds = 0n, nanos = 0 } = duration;
    entry.duration = { $typeName: "google.protobuf.Duration", seconds, nanos };
  }
  return entry;
}

function boundedPrincipal(principal: MessageInitShape<typeof PrincipalSchema>): Principal {
  return {
    $typeName: "missioncontrol.v1.Principal",
    issuer: cut(principal.issuer),
    subject: cut(principal.subject),
    roles: cutAll(principal.roles),
    tokenId: cut(principal.tokenId),
    authenticationMethod: cut(principal.authenticationMethod),
    sourceAddress: cut(principal.sourceAddress),
  };
}

function boundedDecision(decision: MessageInitShape<typeof DecisionSchema>): Decision {
  return {
    $typeName: "missioncontrol.v1.Decision",
    allowed: decision.allowed ?? false,
    message: cut(decision.message, maxText),
    policyIds: cutAll(decision.policyIds),
    policySetHash: cut(decision.policySetHash),
    bypassed: cutAll(decision.bypassed),
  };
}

function boundedFields(fields: NonNullable<EntryInit["requestFields"]>): RequestField[] {
  return fields.slice(0, maxItems).map(({ name, json }) => ({
    $typeName: "missioncontrol.v1.RequestField",
    name: cut(name),
    json: cut(json, maxText),
  }));
}

function cut(text = "", length = maxName): string {
  return hideTokens(text.length > length ? text.slice(0, length) : text).toWellFormed();
}

function cutAll(texts: readonly string[] = []): string[] {
  return texts.slice(0, maxItems).map((text) => cut(text));
}
