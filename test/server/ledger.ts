import { type AuditEntry, AuditEntry_PhaseSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { TestServer } from "../fixture/server.ts";

/** What the ledger says about one call, the oldest entry first: asked over the wire, as an auditor would. */
export async function entriesOf(server: TestServer, callId: string): Promise<AuditEntry[]> {
  const { entries } = await server.audit.listAuditEntries({ callId });
  return entries.reverse();
}

/** The entries of one call as "READ", "DENIED ROLE_DENIED", "OUTCOME OK", … */
export async function toldOf(server: TestServer, callId: string): Promise<string[]> {
  return (await entriesOf(server, callId)).map(told);
}

/** An entry's phase, with how the call ended where the entry says so. */
export function told({ phase, resultCode, errorReason }: AuditEntry): string {
  const name = AuditEntry_PhaseSchema.value[phase]?.name ?? String(phase);
  return [name, errorReason || resultCode].filter((part) => part !== "").join(" ");
}
