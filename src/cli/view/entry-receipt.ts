import { toJson } from "@bufbuild/protobuf";
import {
  type AuditEntry,
  AuditEntry_PhaseSchema,
  AuditEntrySchema,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { PersonalFieldSchema } from "../../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { AuditReceipt } from "../../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { toBase64 } from "../../proof/base64.ts";
import { verifyReceipt } from "../../proof/receipt.ts";
import { signatureOf } from "../../proof/signed-request.ts";
import type { VerifierKey } from "../../proof/verifier-key.ts";
import type { Terminal } from "../terminal.ts";
import { count } from "./entries-progress.ts";
import { enumName } from "./enum.ts";
import { renderFields } from "./table.ts";

/** Verifies a receipt, and shows what it proves. Throws ProofError where it proves nothing. */
export function renderReceipt(receipt: AuditReceipt, key: VerifierKey, terminal: Terminal): string {
  const { entry, checkpoint } = verifyReceipt(receipt, key);
  const head = `${terminal.paint("VERIFIED", ["bold", "green"])}  ${entry.entryId} is entry ${count(Number(entry.sequence))} of ${checkpoint.origin}\n`;
  return (
    head +
    renderFields([
      ...entryFields(entry, receipt),
      ["checkpoint", `${count(checkpoint.size)} entries, root ${toBase64(checkpoint.root)}`],
      ["key", key.text],
    ])
  );
}

/** The same for machines. */
export function receiptJson(receipt: AuditReceipt, key: VerifierKey): string {
  const { entry, checkpoint } = verifyReceipt(receipt, key);
  const { origin, size, root } = checkpoint;
  const told = { verified: true, origin, treeSize: size, rootHash: toBase64(root), key: key.text };
  return `${JSON.stringify({ ...told, entry: toJson(AuditEntrySchema, entry) })}\n`;
}

function entryFields(entry: AuditEntry, { disclosures }: AuditReceipt): [string, string | undefined][] {
  const { time, principal, decision } = entry;
  const signed = signatureOf(entry);
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
    ["signed", signed && `by ${signed.key.text} at ${signed.time}`],
    ["not told", erased.join(", ")],
  ];
}
