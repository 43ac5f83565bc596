import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type AuditLog,
  type ExportAuditEntriesResponse,
  ExportAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import {
  GetAuditReceiptResponseSchema,
  GetCheckpointResponseSchema,
  RotateLedgerKeyResponseSchema,
} from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import type { LedgerProofs } from "../ledger/proofs.ts";
import { parseCheckpoint } from "../proof/checkpoint.ts";
import { parseNote } from "../proof/note.ts";
import { decodeEntry } from "../proof/receipt.ts";
import { callerOf } from "./caller.ts";

/** The AuditLog service's RPCs about proofs: translate, call, translate. */
export function auditProofs(
  proofs: LedgerProofs,
): Pick<ServiceImpl<typeof AuditLog>, "getAuditReceipt" | "getCheckpoint" | "exportAuditEntries" | "rotateLedgerKey"> {
  return {
    async getAuditReceipt({ entryId }, { signal }) {
      const { entry, proof, checkpoint } = await proofs.prove(entryId, signal);
      return create(GetAuditReceiptResponseSchema, {
        receipt: {
          entryId,
          entry: entry.bytes,
          leafIndex: entry.sequence - 1n,
          inclusionProof: [...proof],
          checkpoint: checkpoint.note,
          keyRotations: await proofs.rotations(),
        },
      });
    },

    async getCheckpoint({ consistentWith }, { signal }) {
      const { checkpoint, proof } = await proofs.checkpoint(Number(consistentWith), signal);
      const { origin, root } = parseCheckpoint(parseNote(checkpoint.note).text);
      return create(GetCheckpointResponseSchema, {
        checkpoint: checkpoint.note,
        origin,
        treeSize: BigInt(checkpoint.size),
        rootHash: root,
        createTime: timestampFromMs(checkpoint.time),
        consistencyProof: [...proof],
        keyRotations: await proofs.rotations(),
        verifierKey: proofs.verifierKey,
      });
    },

    async rotateLedgerKey(_, context) {
      const { entryId: auditEntryId } = callerOf(context);
      const keyRotation = await proofs.rotateKey();
      return create(RotateLedgerKeyResponseSchema, {
        verifierKey: proofs.verifierKey,
        keyRotation,
        auditEntryId,
      });
    },

    async *exportAuditEntries({ after, bytesOnly }, { signal }) {
      const ledger = await proofs.export(Number(after), signal);
      const { origin, range, prunings, acknowledgements } = ledger;
      yield exported({ case: "begin", value: { origin, after: BigInt(ledger.after), range: [...range] } });
      for await (const { sequence, bytes } of ledger.entries) {
        const value = { sequence, bytes, ...(!bytesOnly && { entry: decodeEntry(bytes) }) };
        yield exported({ case: "entry", value });
      }
      const keyRotations = await proofs.rotations();
      yield exported({
        case: "end",
        value: { checkpoint: ledger.checkpoint.note, keyRotations, prunings, acknowledgements },
      });
    },
  };
}

type Line = NonNullable<MessageInitShape<typeof ExportAuditEntriesResponseSchema>["line"]>;

function exported(line: Line): ExportAuditEntriesResponse {
  return create(ExportAuditEntriesResponseSchema, { line });
}
