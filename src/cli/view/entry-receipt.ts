import { toJson } from "@bufbuild/protobuf";
import {
  type AuditEntry,
  AuditEntry_PhaseSchema,
  AuditEntrySchema,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { PersonalFieldSchema } from "../../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { AuditReceipt } from "../../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { toBase64 } from "../../proof/base64.ts";
import type { ExportExpectation } from "../../proof/export.ts";
import { type KnownKey, OperatorSignatures } from "../../proof/operator-signatures.ts";
import { verifyReceipt } from "../../proof/receipt.ts";
import { signatureOf } from "../../proof/signed-request.ts";
import type { VerifierKey } from "../../proof/verifier-key.ts";
import type { Terminal } from "../terminal.ts";
import { count } from "./entries-progress.ts";
import { enumName } from "./enum.ts";
import { renderFields } from "./table.ts";
import { witnessLine } from "./verified.ts";

/** Keys that whoever verifies knows beside the log's. */
export type KeysBeside = Pick<ExportExpectation, "operatorKeys" | "witnesses">;

/**
 * Verifies a receipt, and shows what it proves. Throws ProofError where it proves nothing.
 *
 * @param beside the log's key: operators' keys to hold the caller's own signature against, and witnesses that have to have signed.
 */
export function renderReceipt(
  receipt: AuditReceipt,
  key: VerifierKey,
  terminal: Terminal,
  beside: KeysBeside = {},
): string {
  const { entry, checkpoint, cosignatures } = verifyReceipt(receipt, key, beside.witnesses);
  const head = `${terminal.paint("VERIFIED", ["bold", "green"])}  ${entry.entryId} is entry ${count(Number(entry.sequence))} of ${checkpoint.origin}\n`;
  return (
    head +
    renderFields([
      ...entryFields(entry, receipt, beside.operatorKeys ?? []),
      ["checkpoint", `${count(checkpoint.size)} entries, root ${toBase64(checkpoint.root)}`],
      ["key", key.text],
      ...cosignatures.map((one) => ["witness", witnessLine(one)] as const),
    ])
  );
}

/** The same for machines. */
export function receiptJson(receipt: AuditReceipt, key: VerifierKey, beside: KeysBeside = {}): string {
  const { entry, checkpoint, cosignatures } = verifyReceipt(receipt, key, beside.witnesses);
  const { origin, size, root } = checkpoint;
  const signedBy = signerOf(entry, beside.operatorKeys ?? [])?.text;
  const told = { verified: true, origin, treeSize: size, rootHash: toBase64(root), key: key.text, signedBy };
  const witnessed = cosignatures.map(({ key: { text }, time }) => ({ key: text, time }));
  return `${JSON.stringify({ ...told, cosignatures: witnessed, entry: toJson(AuditEntrySchema, entry) })}\n`;
}

/** The known key of the caller's that signed the call; undefined: none did. Throws ProofError where it is somebody else's. */
function signerOf(entry: AuditEntry, known: readonly KnownKey[]): VerifierKey | undefined {
  const signatures = new OperatorSignatures(known);
  signatures.take(entry);
  return signatures.report.checked[0]?.key;
}

function entryFields(
  entry: AuditEntry,
  { disclosures }: AuditReceipt,
  known: readonly KnownKey[],
): [string, string | undefined][] {
  const { time, principal, decision } = entry;
  const signed = signatureOf(entry);
  const whose = signerOf(entry, known) ? "a key that was given as theirs" : "whose it is, was not checked";
  const erased = entry.commitments
    .filter((commitment) => !disclosures.some(({ field }) => field === commitment.field))
    .map(({ field }) => enumName(PersonalFieldSchema, field).toLowerCase());
  return [
    ["time", time && new Date(Number(time.seconds) * 1000 + time.nanos / 1e6).toISOString()],
    ["phase", enumName(AuditEntry_PhaseSchema, entry.phase)],
    ["who", [principal?.subject, principal?.issuer].filter(Boolean).join(" of ")],
    ["action", entry.action],
    ["target", entry.target],
    ["brake", entry.brakeId],
    ["result", entry.errorReason || entry.resultCode],
    ["decision", decision && (decision.allowed ? "allowed" : `refused: ${decision.message}`)],
    ["reason", entry.reason],
    ["message", entry.message],
    ["signed", signed && `by ${signed.key.text} at ${signed.time} (${whose})`],
    ["not told", erased.join(", ")],
  ];
}
