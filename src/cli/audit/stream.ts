import type { ExportAuditEntriesResponse } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { ProofError } from "../../proof/proof-error.ts";
import { follow } from "../follow.ts";
import type { Session } from "../session.ts";

/** What is asked for. */
export interface StreamOptions {
  /** Only what is behind this sequence. */
  readonly after: number;
  readonly bytesOnly?: boolean;
  readonly withoutPersonal?: boolean;
}

/**
 * The messages of one export, across outages: after each it goes on behind the last entry that came. Begins with the line that
 * says where it begins, ends with its end.
 */
export async function* exportOf(session: Session, options: StreamOptions): AsyncGenerator<ExportAuditEntriesResponse> {
  const { auditLog, signal, settings, terminal } = session;
  let last: number | undefined;
  const messages = follow({ signal, server: settings.server, note: terminal.note, what: "export" }, (call) =>
    auditLog.exportAuditEntries({ ...options, after: BigInt(last ?? options.after) }, call),
  );
  for await (const message of messages) {
    const { line } = message;
    if (line.case === "begin") {
      const after = Number(line.value.after);
      const isAgain = last !== undefined;
      if (isAgain && after !== last) throw new ProofError(`the export went on behind ${after}, not behind ${last}`);
      last = after;
      if (isAgain) continue;
    }
    if (line.case === "entry") last = Number(line.value.sequence);
    yield message;
    if (line.case === "end") return;
  }
}
