// A process of its own: commits entries for ever and prints each sequence once it was acknowledged.
import { openSqlite } from "../../src/store/sqlite.ts";
import { entry } from "./entry.ts";

const store = openSqlite(process.argv[2] ?? "");
async function loop(name: string) {
  for (let n = 0; ; n++) {
    const [stored] = await store.commit({ entries: [entry({ entryId: `ae_${name}_${n}` })] });
    process.stdout.write(`${stored?.sequence}\n`);
  }
}
await Promise.all(["a", "b", "c"].map(loop));
