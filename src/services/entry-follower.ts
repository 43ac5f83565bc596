import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  type FollowAuditEntriesResponse,
  FollowAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Reach } from "../policy/reach.ts";
import type { EntryQuery, Store } from "../store/store.ts";
import type { EntrySight } from "./entry-sight.ts";

/**
 * Followers at a time; entries that are looked through at once (no query answers more); how often it is looked whether there are
 * more, and the silence after which there is a sign of life, ms.
 */
const limits = { followers: 200, window: 1_000, lookMs: 200, heartbeatMs: 15_000 } as const;

/** Which entries; all that is set has to match. */
export type Wanted = Omit<EntryQuery, "after" | "before" | "until" | "limit">;

/**
 * Streams entries as they come, each once and in order. It reads what is committed, a window of the ledger at a time, and no
 * faster than its reader takes it: nothing waits for a follower, and nothing piles up for it.
 */
export class EntryFollower {
  readonly #store: Store;
  readonly #sight: EntrySight;
  #followers = 0;

  constructor(store: Store, sight: EntrySight) {
    this.#store = store;
    this.#sight = sight;
  }

  /**
   * What matches behind `after` (undefined: what comes), until the signal aborts. Throws CHECKPOINT_AHEAD, TOO_MANY_WATCHERS, and
   * what `EntrySight` throws.
   */
  async *follow({
    wanted,
    after,
    reach,
    signal,
  }: {
    readonly wanted: Wanted;
    readonly after: bigint | undefined;
    readonly reach: Reach;
    readonly signal: AbortSignal;
  }): AsyncGenerator<FollowAuditEntriesResponse> {
    const store = this.#store;
    if (this.#followers >= limits.followers) {
      throw new MissionControlError(
        "TOO_MANY_WATCHERS",
        `${limits.followers} followers are the limit: close some first`,
      );
    }
    let told = after ?? store.head;
    if (told > store.head) {
      throw new MissionControlError(
        "CHECKPOINT_AHEAD",
        `the ledger has ${store.head} entries, none behind ${told}: if it was seen with so many, it was rolled back`,
      );
    }
    const message = (rest: Pick<Partial<FollowAuditEntriesResponse>, "entry">) =>
      create(FollowAuditEntriesResponseSchema, { ...rest, after: told });
    this.#followers++;
    try {
      let heardTime = performance.now();
      let caughtUpOnce = false;
      while (!signal.aborted) {
        const { head } = store;
        const end = told + BigInt(limits.window) < head ? told + BigInt(limits.window) : head;
        if (end > told) {
          const query = { ...wanted, after: told, before: end + 1n, limit: limits.window };
          const { entries } = await store.listEntries(query);
          for (const entry of (await this.#sight.within(reach, entries, signal)).toReversed()) {
            told = entry.sequence;
            yield message({ entry });
            heardTime = performance.now();
          }
          told = end;
        }
        const caughtUp = told === store.head;
        const silent = performance.now() - heardTime >= limits.heartbeatMs;
        if (silent || (caughtUp && !caughtUpOnce)) {
          yield message({});
          heardTime = performance.now();
          caughtUpOnce ||= caughtUp;
        }
        if (caughtUp) await delay(limits.lookMs, undefined, { signal }).catch(() => undefined);
      }
    } finally {
      this.#followers--;
    }
  }
}
