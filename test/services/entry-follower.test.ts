import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Reach } from "../../src/policy/reach.ts";
import { EntryFollower, type Wanted } from "../../src/services/entry-follower.ts";
import type { EntrySight } from "../../src/services/entry-sight.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { entry } from "../store/entry.ts";

let dir: string;
let store: Store;
let follower: EntryFollower;
let leave: AbortController;
const everybody = { within: async (_, entries) => [...entries] } as Pick<EntrySight, "within"> as EntrySight;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-follow-"));
  store = openSqlite(join(dir, "ledger.db"));
  follower = new EntryFollower(store, everybody);
  leave = new AbortController();
});
afterEach(async () => {
  leave.abort();
  await store.close();
  await rm(dir, { recursive: true });
});

const write = (count: number, action = "runtime.list") =>
  store.commit({ entries: Array.from({ length: count }, () => entry({ action })) });
const follow = (after: bigint | undefined, wanted: Wanted = {}) =>
  follower.follow({ wanted, after, reach: Reach.everything, signal: leave.signal });
const upTo = (count: number, from = 1) => Array.from({ length: count - from + 1 }, (_, at) => at + from);

/** The sequences that come until one that is without an entry, or until so many are there; and where it goes on. */
async function read(stream: ReturnType<typeof follow>, most = Number.POSITIVE_INFINITY) {
  const sequences: number[] = [];
  for (;;) {
    const { value } = await stream.next();
    if (value?.entry) sequences.push(Number(value.entry.sequence));
    if (!value?.entry || sequences.length === most) return { sequences, after: value?.after };
  }
}

test("what there is comes in order, over several windows, then what comes; left at any entry, it goes on without a gap", async () => {
  await write(2_500);
  const stream = follow(0n);
  expect(await read(stream)).toEqual({ sequences: upTo(2_500), after: 2_500n });
  const [coming] = await Promise.all([read(stream, 3), write(2).then(() => write(1))]);
  expect(coming).toEqual({ sequences: [2_501, 2_502, 2_503], after: 2_503n });
  await stream.return(undefined);

  const left = follow(0n);
  const { after } = await read(left, 1_234);
  await left.return(undefined);
  expect(await read(follow(after))).toEqual({ sequences: upTo(2_503, 1_235), after: 2_503n });
});

test("without a place only what comes is told", async () => {
  await write(3);
  const stream = follow(undefined);
  expect(await read(stream)).toEqual({ sequences: [], after: 3n });
  const [{ sequences }] = await Promise.all([read(stream, 1), write(1)]);
  expect(sequences).toEqual([4]);
});

test("of many entries only those that match are told, and what was looked through is not looked through again", async () => {
  await write(1_500);
  await write(1, "runtime.pause");
  await write(1_200);
  const stream = follow(0n, { actions: ["runtime.pause"] });
  expect(await read(stream)).toEqual({ sequences: [1_501], after: 2_701n });
  expect((await read(follow(0n, { since: 1_800_000_000_000 }))).sequences).toEqual([]);
  await store.commit({ entries: [entry({ time: timestampFromMs(1_900_000_000_000) })] });
  expect((await read(follow(0n, { since: 1_800_000_000_000 }))).sequences).toEqual([2_702]);
});

test("what was pruned is passed over", async () => {
  await write(600);
  await store.prune(256n);
  expect((await read(follow(10n))).sequences).toEqual(upTo(600, 257));
});

test("a place that the ledger never had is refused: it may have been rolled back", async () => {
  await write(2);
  await expect(follow(3n).next()).rejects.toMatchObject({ reason: "CHECKPOINT_AHEAD" });
  expect(await read(follow(2n))).toMatchObject({ sequences: [] });
});

test("only so many follow at once; one that leaves makes room", async () => {
  const streams = Array.from({ length: 200 }, () => follow(undefined));
  await Promise.all(streams.map((stream) => stream.next()));
  await expect(follow(undefined).next()).rejects.toMatchObject({ reason: "TOO_MANY_WATCHERS" });
  await streams[0]?.return(undefined);
  await expect(follow(undefined).next()).resolves.toMatchObject({ done: false });
});

test("whoever has a scope is told of nothing beyond it, but goes on behind it", async () => {
  const own = {
    within: async (_: Reach, entries: readonly AuditEntry[]) => entries.filter((one) => one.target === "a"),
  };
  follower = new EntryFollower(store, own as Pick<EntrySight, "within"> as EntrySight);
  await store.commit({ entries: ["a", "b", "a", "b"].map((target) => entry({ target })) });
  expect(await read(follow(0n))).toEqual({ sequences: [1, 3], after: 4n });
});
