import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditEntry, AuditEntry_Phase, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Brake, Hold } from "../../src/store/brake.ts";

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

/** A brake that is engaged. */
export function brake(init: Partial<Brake> = {}): Brake {
  return {
    brakeId: "br_1",
    selector: { types: ["RefundAgent"] },
    workflowId: "",
    includeDescendants: true,
    state: "ENGAGED",
    reason: "it pays twice",
    ticket: "INC-7",
    emergency: false,
    engagedBy: "alice",
    issuer: "mission-control-dev",
    radius: undefined,
    createTime: 1_700_000_000_000,
    engageTime: 1_700_000_000_000,
    expiresInMs: undefined,
    expiryWarned: false,
    engageEntryId: "ae_1",
    approval: undefined,
    release: undefined,
    gates: [],
    ...init,
  };
}

/** What it holds, not yet at a standstill. */
export function hold(init: Partial<Hold> = {}): Hold {
  return {
    brakeId: "br_1",
    workflowId: "restate:inv_1",
    catchTime: 1_700_000_000_000,
    late: false,
    caughtThrough: "",
    order: 0,
    ended: false,
    halt: {
      foundPaused: false,
      requestTime: 1_700_000_000_000,
      acceptTime: undefined,
      standstillTime: undefined,
      pausePending: true,
      steps: undefined,
      releaseTime: undefined,
      settled: false,
    },
    ...init,
  };
}

/** A hold that has nothing left to do. */
export function settled(given: Hold): Hold {
  return { ...given, halt: { ...given.halt, settled: true } };
}
