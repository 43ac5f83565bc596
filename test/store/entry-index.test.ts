import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, expect, it } from "vitest";
import { indexStatements } from "../../src/store/entry-index.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { entry } from "./entry.ts";

let dir: string;
let path: string;
let store: Store;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-index-"));
  path = join(dir, "ledger.db");
  store = openSqlite(path);
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

const indexedTo = (db: DatabaseSync) => db.prepare(indexStatements.indexedTo).get()?.indexed_to;

it("no query of the index reads a whole table: times and filters alike are searched for", () => {
  const db = new DatabaseSync(path);
  for (const name of ["seek", "all", "blocks"] as const) {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${indexStatements[name]}`).all();
    expect(plan.map(({ detail }) => detail)).toEqual([
      expect.stringMatching(/^SEARCH entry_(filter|block) USING (PRIMARY KEY|COVERING INDEX)/),
    ]);
  }
  db.close();
});

it("what was written in a burst is found by every filter, before it is indexed and after", async () => {
  const entries = Array.from({ length: 3000 }, (_, n) =>
    entry({
      action: n % 3 === 0 ? "runtime.pause" : "runtime.list",
      target: `restate:inv_${n % 10}`,
      time: timestampFromMs(1_700_000_000_000 + n * 1000),
    }),
  );
  await Promise.all(entries.map((one) => store.commit({ entries: [one] })));
  const found = async () => {
    const query = { actions: ["runtime.pause"], target: "restate:inv_3", limit: 1000 };
    const of = async (more: object) => (await store.listEntries({ ...query, ...more })).entries;
    const since = 1_700_000_000_000 + 1_000_000;
    const until = since + 1_000_000;
    return [(await of({})).length, (await of({ since })).length, (await of({ since, until })).length];
  };
  const expected = [100, 66, 33];
  expect(await found()).toEqual(expected);
  const db = new DatabaseSync(path);
  await expect.poll(() => indexedTo(db), { timeout: 10_000 }).toBe(3000);
  db.close();
  expect(await found()).toEqual(expected);
});

it("an entry is found by its id however much is not indexed yet", async () => {
  const entries = Array.from({ length: 12_000 }, () => entry());
  await store.commit({ entries });
  await store.close();
  // Without its key the index is made anew, from the first entry on.
  await rm(join(dir, "ledger-index.key"), { force: true });
  store = openSqlite(path);
  const [first] = entries;
  expect((await store.storedEntry(first?.entryId ?? ""))?.sequence).toBe(1n);
  expect(await store.storedEntry("ae_none")).toBeUndefined();
});
