import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Disclosure } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { AuditReceipt } from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type Cosignature, cosignaturesOf } from "./cosignature.ts";
import { reveal, verifyDisclosures } from "./disclosures.ts";
import { leafHash } from "./hash.ts";
import { LogKeys } from "./log-keys.ts";
import { verifyInclusion } from "./merkle.ts";
import { ProofError } from "./proof-error.ts";
import { signatureOf } from "./signed-request.ts";
import type { VerifierKey } from "./verifier-key.ts";

/**
 * Verifies a receipt by the log's key alone: the entry that it proves to be in the ledger, and the checkpoint that covers it.
 *
 * @param witnesses that have to have signed the checkpoint as well.
 * @throws ProofError that says what does not hold.
 */
export function verifyReceipt(
  receipt: AuditReceipt,
  trusted: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): { readonly entry: AuditEntry; readonly checkpoint: Checkpoint; readonly cosignatures: readonly Cosignature[] } {
  const checkpoint = new LogKeys(trusted, receipt.keyRotations).open(receipt.checkpoint);
  const entry = readEntry(receipt.entry, receipt.disclosures);
  const index = Number(receipt.leafIndex);
  if (entry.entryId !== receipt.entryId) {
    throw new ProofError(`the receipt is for entry ${receipt.entryId}, but holds ${entry.entryId}`);
  }
  if (entry.sequence !== receipt.leafIndex + 1n) {
    throw new ProofError(`entry ${entry.sequence} is not at index ${receipt.leafIndex} of the ledger`);
  }
  verifyInclusion({ index, hash: leafHash(receipt.entry) }, checkpoint, receipt.inclusionProof);
  return { entry, checkpoint, cosignatures: cosignaturesOf(receipt.checkpoint, witnesses) };
}

/** The entry of these bytes, with the personal values that come with it. Throws ProofError where they do not belong to it. */
export function readEntry(bytes: Uint8Array, disclosures: readonly Disclosure[]): AuditEntry {
  const stored = decodeEntry(bytes);
  verifyDisclosures(stored, disclosures);
  const entry = reveal(stored, disclosures);
  signatureOf(entry);
  return entry;
}

/** The entry of these bytes. Throws ProofError where they are none. */
export function decodeEntry(bytes: Uint8Array): AuditEntry {
  try {
    return fromBinary(AuditEntrySchema, bytes);
  } catch (cause) {
    throw new ProofError("the bytes of an entry are not one", { cause });
  }
}
