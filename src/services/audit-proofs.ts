import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
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
import { MissionControlError } from "../errors.ts";
import { reachOf } from "../interceptors/authorize.ts";
import { entryNotFound, type LedgerProofs } from "../ledger/proofs.ts";
import { parseCheckpoint } from "../proof/checkpoint.ts";
import { reveal } from "../proof/disclosures.ts";
import { parseNote } from "../proof/note.ts";
import { decodeEntry } from "../proof/receipt.ts";
import type { Store } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { EntrySight } from "./entry-sight.ts";

/** The AuditLog service's RPCs about proofs: translate, call, translate. */
export function auditProofs(
  proofs: LedgerProofs,
  store: Store,
  sight: EntrySight,
): Pick<ServiceImpl<typeof AuditLog>, "getAuditReceipt" | "getCheckpoint" | "exportAuditEntries" | "rotateLedgerKey"> {
  return {
    async getAuditReceipt({ entryId }, context) {
      const { signal } = context;
      const reach = reachOf(callerOf(context).call);
      const stored = reach.isLimited ? await store.storedEntry(entryId) : undefined;
      if (stored && (await sight.within(reach, [decodeEntry(stored.bytes)], signal)).length === 0) {
        throw entryNotFound(entryId, `${entryId} is there, beyond the scope of the caller's roles`);
      }
      const { entry, proof, checkpoint } = await proofs.prove(entryId, signal);
      return create(GetAuditReceiptResponseSchema, {
        receipt: {
          entryId,
          entry: entry.bytes,
          leafIndex: entry.sequence - 1n,
          inclusionProof: [...proof],
          checkpoint: checkpoint.note,
          keyRotations: await proofs.rotations(),
          disclosures: [...entry.disclosures],
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
      mustReachAll(context, "the key signs the whole ledger");
      const keyRotation = await proofs.rotateKey();
      return create(RotateLedgerKeyResponseSchema, {
        verifierKey: proofs.verifierKey,
        keyRotation,
        auditEntryId,
      });
    },

    async *exportAuditEntries({ after, bytesOnly, withoutPersonal }, context) {
      const { signal } = context;
      mustReachAll(context, "an export without gaps is one of the whole ledger");
      const ledger = await proofs.export(Number(after), signal);
      const { origin, range, prunings, acknowledgements } = ledger;
      yield exported({ case: "begin", value: { origin, after: BigInt(ledger.after), range: [...range] } });
      for await (const { sequence, bytes, disclosures: left } of ledger.entries) {
        const disclosures = bytesOnly || withoutPersonal ? [] : [...left];
        const readable = !bytesOnly && { entry: reveal(decodeEntry(bytes), disclosures) };
        const value = { sequence, bytes, disclosures, ...readable };
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

/** Throws ROLE_DENIED where the caller's roles have a scope. */
export function mustReachAll(context: HandlerContext, why: string): void {
  const { call, principal } = callerOf(context);
  if (!reachOf(call).isLimited) return;
  throw new MissionControlError("ROLE_DENIED", `${why}: that is for those whose roles have no scope`, {
    metadata: { roles: principal.roles.join(",") },
  });
}

type Line = NonNullable<MessageInitShape<typeof ExportAuditEntriesResponseSchema>["line"]>;

function exported(line: Line): ExportAuditEntriesResponse {
  return create(ExportAuditEntriesResponseSchema, { line });
}
