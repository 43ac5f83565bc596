import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type AuditEntry,
  type AuditLog,
  type FollowAuditEntriesRequest,
  type ListAuditEntriesRequest,
  type ListAuditEntriesResponse,
  ListAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { EraseSubjectResponseSchema } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { MissionControlError } from "../errors.ts";
import { reachOf } from "../interceptors/authorize.ts";
import type { LedgerProofs } from "../ledger/proofs.ts";
import type { Reach } from "../policy/reach.ts";
import type { EntryQuery, Store } from "../store/store.ts";
import { auditProofs, mustReachAll } from "./audit-proofs.ts";
import { callerOf } from "./caller.ts";
import { EntryFollower, type Wanted } from "./entry-follower.ts";
import type { EntrySight } from "./entry-sight.ts";

const defaultPage = 100;
/** For a reader whose roles have a scope, so many entries are looked at for one page, so many at a time. */
const looked = { atOnce: 500, most: 10_000 } as const;

/** The AuditLog service: translate, call, translate. */
export function auditLogService(store: Store, proofs: LedgerProofs, sight: EntrySight): ServiceImpl<typeof AuditLog> {
  const follower = new EntryFollower(store, sight);
  return {
    ...auditProofs(proofs, store, sight),

    async listAuditEntries(request, context) {
      const limit = request.pageSize || defaultPage;
      const reach = reachOf(callerOf(context).call);
      const until = request.until && timestampMs(request.until);
      const query = { ...wantedBy(request), until, before: sequenceOf(request.pageToken) };
      if (reach.isLimited) return listWithin(store, sight, reach, query, limit, context.signal);
      const { entries, lookedTo } = await store.listEntries({ ...query, limit: limit + 1 });
      const page = entries.slice(0, limit);
      const next = entries.length > limit ? page.at(-1)?.sequence : lookedTo;
      return create(ListAuditEntriesResponseSchema, { entries: page, nextPageToken: String(next ?? "") });
    },

    followAuditEntries(request, context) {
      const reach = reachOf(callerOf(context).call);
      return follower.follow({ wanted: wantedBy(request), after: request.after, reach, signal: context.signal });
    },

    async eraseSubject({ subject }, context) {
      const { entryId: auditEntryId } = callerOf(context);
      mustReachAll(context, "a person is erased from the whole ledger");
      const { entries, brakes, keptBrakeIds } = await store.eraseSubject(subject, context.signal);
      return create(EraseSubjectResponseSchema, {
        erasedEntries: BigInt(entries),
        erasedBrakes: BigInt(brakes),
        keptBrakeIds: [...keptBrakeIds],
        auditEntryId,
      });
    },
  };
}

function wantedBy(request: ListAuditEntriesRequest | FollowAuditEntriesRequest): Wanted {
  return {
    subject: request.subject || undefined,
    actions: request.action.length === 0 ? undefined : request.action,
    target: request.target || undefined,
    callId: request.callId || undefined,
    requestId: request.requestId || undefined,
    brakeId: request.brakeId || undefined,
    verdict: request.verdict || undefined,
    phases: request.phase.length === 0 ? undefined : request.phase,
    since: request.since && timestampMs(request.since),
  };
}

/** A page of what is within reach; short, even empty, with a token where more than `looked.most` would have to be looked at. */
async function listWithin(
  store: Store,
  sight: EntrySight,
  reach: Reach,
  query: Omit<EntryQuery, "limit">,
  limit: number,
  signal: AbortSignal,
): Promise<ListAuditEntriesResponse> {
  const entries: AuditEntry[] = [];
  let { before } = query;
  let more = true;
  for (let count = 0; more && entries.length <= limit && count < looked.most; count += looked.atOnce) {
    const found = await store.listEntries({ ...query, before, limit: looked.atOnce });
    entries.push(...(await sight.within(reach, found.entries, signal)));
    more = found.entries.length === looked.atOnce || found.lookedTo !== undefined;
    before = found.lookedTo ?? found.entries.at(-1)?.sequence ?? before;
    signal.throwIfAborted();
  }
  const page = entries.slice(0, limit);
  const rest = entries.length > limit ? page.at(-1)?.sequence : more ? before : undefined;
  return create(ListAuditEntriesResponseSchema, {
    entries: page,
    nextPageToken: rest === undefined ? "" : String(rest),
  });
}

/** A page goes on before the sequence that the last one ended with: the ledger only grows at its other end. */
function sequenceOf(token: string): bigint | undefined {
  if (token === "") return undefined;
  if (/^\d{1,18}$/.test(token)) return BigInt(token);
  throw new MissionControlError("INVALID_PAGE_TOKEN", "this page_token is not of the ledger: begin without one", {
    violations: [{ field: "page_token", description: "not given out for the ledger" }],
  });
}
