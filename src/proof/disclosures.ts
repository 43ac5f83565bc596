import { hash } from "node:crypto";
import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import {
  type Disclosure,
  PersonalField as Field,
  PersonalFieldSchema,
} from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { ProofError } from "./proof-error.ts";

/** What commits to a value: SHA-256(salt ‖ value). */
function commitmentHash({ salt, value }: Pick<Disclosure, "salt" | "value">): Uint8Array {
  return hash("sha256", Buffer.concat([salt, value]), "buffer");
}

/**
 * Holds personal values against what the entry commits to: each of them is one of those that it was written with. Some may be
 * missing, for they can be erased.
 *
 * @throws ProofError where one is another, or out of place.
 */
export function verifyDisclosures(entry: AuditEntry, disclosures: readonly Disclosure[]): void {
  const { commitments } = entry;
  let next = 0;
  for (const disclosure of disclosures) {
    while (next < commitments.length && commitments[next]?.field !== disclosure.field) next += 1;
    const commitment = commitments[next++];
    if (commitment === undefined || Buffer.compare(commitment.hash, commitmentHash(disclosure)) !== 0) {
      const name = PersonalFieldSchema.value[disclosure.field]?.name.toLowerCase() ?? "value";
      throw new ProofError(`the ${name} told for entry ${entry.sequence} is not the one that it commits to`);
    }
  }
}

/** The entry with the values that are left. */
export function reveal(stored: AuditEntry, disclosures: readonly Disclosure[]): AuditEntry {
  if (disclosures.length === 0) return stored;
  const entry: AuditEntry = { ...stored };
  if (stored.principal) entry.principal = { ...stored.principal };
  if (stored.decision) entry.decision = { ...stored.decision };
  for (const { field, value } of disclosures) put(entry, field, value);
  return entry;
}

function put(entry: AuditEntry, field: Field, value: Uint8Array): void {
  const text = () => Buffer.from(value.buffer, value.byteOffset, value.length).toString();
  const { principal, decision } = entry;
  if (field === Field.REASON) entry.reason = text();
  else if (field === Field.MESSAGE) entry.message = text();
  else if (field === Field.REQUEST_DIGEST) entry.requestDigest = value;
  else if (field === Field.REQUEST_SIGNATURE) entry.requestSignature = text();
  else if (field === Field.DECISION_MESSAGE && decision) decision.message = text();
  else if (field === Field.SUBJECT && principal) principal.subject = text();
  else if (field === Field.TOKEN_ID && principal) principal.tokenId = text();
  else if (field === Field.SOURCE_ADDRESS && principal) principal.sourceAddress = text();
}
