// A process of its own: commits entries for ever and prints each sequence once it was acknowledged. Told NORMAL, its database
// does what that does to a ledger: it is the proof that a test can tell the difference.
import { DatabaseSync } from "node:sqlite";
import { openSqlite } from "../../src/store/sqlite.ts";
import { entry } from "./entry.ts";

const [path = "", synchronous = "FULL"] = process.argv.slice(2);
const { exec } = DatabaseSync.prototype;
if (synchronous === "NORMAL") {
  // Behind the store's back: by itself it does not open a database that is not FULL.
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql) {
    if (sql.startsWith("BEGIN")) exec.call(this, "PRAGMA synchronous = NORMAL");
    exec.call(this, sql);
  };
}
const store = openSqlite(path);
async function loop(name: string) {
  for (let n = 0; ; n++) {
    const [stored] = await store.commit({ entries: [entry({ entryId: `ae_${name}_${n}` })] });
    process.stdout.write(`${stored?.sequence}\n`);
  }
}
await Promise.all(["a", "b", "c"].map(loop));
