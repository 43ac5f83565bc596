import { setTimeout as delay } from "node:timers/promises";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { AuditEntry, ListAuditEntriesRequest } from "../../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { follow } from "../../follow.ts";
import { collectPages } from "../../paging.ts";
import type { Session } from "../../session.ts";

/** How often it asks for new entries, ms: each time is an entry of its own in the ledger. */
const everyMs = 2_000;
/** Entries are in the order of their sequence, and their times nearly so: what was merged from a fallback file is older. */
const slackMs = 60_000;
/** Of its own asking: what has not come behind so many others does not come. */
const ownKept = 1_000;

/**
 * The entries that come after that one and match, the oldest first, until `signal`; across outages. Those of its own asking are
 * left out.
 */
export async function* followEntries(
  { auditLog, settings, terminal, signal, call }: Session,
  request: ListAuditEntriesRequest,
  after: { sequence: bigint; time: Timestamp | undefined },
): AsyncGenerator<AuditEntry> {
  let { sequence: last, time } = after;
  const own = new Set<string>();
  const callId = (headers: Headers) => {
    own.add(headers.get("x-request-id") ?? "");
    // Under a filter they never come.
    if (own.size > ownKept) for (const oldest of own) return void own.delete(oldest);
  };
  const newer = async () => {
    const since = request.since ?? (time && timestampFromMs(timestampMs(time) - slackMs));
    const { items } = await collectPages(Number.POSITIVE_INFINITY, 1000, async (pageSize, pageToken) => {
      const page = await auditLog.listAuditEntries(
        { ...request, ...(since && { since }), pageSize, pageToken },
        { ...call(), onHeader: callId },
      );
      const items = page.entries.filter(({ sequence }) => sequence > last);
      return { items, nextPageToken: items.length < page.entries.length ? "" : page.nextPageToken };
    });
    return items.reverse();
  };
  const note = settings.output === "table" ? terminal.note : () => {};
  const batches = follow({ signal, server: settings.server, note, what: "list", seen: true }, async function* () {
    for (;;) {
      yield await newer();
      await delay(everyMs, undefined, { signal });
    }
  });
  for await (const entries of batches) {
    for (const entry of entries) {
      last = entry.sequence;
      time = entry.time;
      if (!own.delete(entry.callId)) yield entry;
    }
  }
}
