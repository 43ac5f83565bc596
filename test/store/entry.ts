import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditEntry, AuditEntry_Phase, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Brake } from "../../src/store/brake.ts";

let entryNumber = 0;

/** An entry with a new id, as the ledger hands it to a store. */
export function entry(init: MessageInitShape<typeof AuditEntrySchema> = {}): AuditEntry {
  entryNumber += 1;
  return create(AuditEntrySchema, {
    entryId: `ae_${entryNumber}`,
    time: timestampFromMs(1_700_000_000_000 + entryNumber),
    phase: AuditEntry_Phase.READ,
    action: "runtime.list",
    ...init,
  });
}

/** A brake that is engaged and not yet at a standstill. */
export function brake(init: Partial<Brake> = {}): Brake {
  return {
    brakeId: "br_1",
    workflowId: "restate:inv_1",
    state: "ENGAGED",
    reason: "it pays twice",
    emergency: false,
    engagedBy: "alice",
    engageTime: 1_700_000_000_000,
    expireTime: undefined,
    engageEntryId: "ae_1",
    release: undefined,
    halt: {
      foundPaused: false,
      acceptTime: undefined,
      standstillTime: undefined,
      pausePending: true,
      stepsInFlight: [{ index: 3, name: "pay", startTime: 1_700_000_000_000, outcome: "inFlight" }],
      stepsStartedBefore: 3,
      stepsStartedAfterAccept: undefined,
      stepsStartedAtRelease: undefined,
      settled: false,
    },
    ...init,
  };
}
