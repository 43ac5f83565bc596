import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AuditEntry, FollowAuditEntriesRequestSchema } from "../../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { follow } from "../../follow.ts";
import type { Session } from "../../session.ts";

/** The entries behind `after` that match, the oldest first, each once, until `signal`; across outages. */
export async function* followEntries(
  { auditLog, settings, terminal, signal }: Session,
  wanted: MessageInitShape<typeof FollowAuditEntriesRequestSchema>,
  after: bigint,
): AsyncGenerator<AuditEntry> {
  let last = after;
  const note = settings.output === "table" ? terminal.note : () => {};
  const messages = follow({ signal, server: settings.server, note, what: "list", seen: true }, (options) =>
    auditLog.followAuditEntries({ ...wanted, after: last }, options),
  );
  for await (const { entry, after } of messages) {
    last = after;
    if (entry) yield entry;
  }
}
