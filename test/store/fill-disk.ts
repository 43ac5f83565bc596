// A process of its own, under a limit on the size of files: commits more than fits, then tells what came of it.
import { MissionControlError } from "../../src/errors.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { entry } from "./entry.ts";

process.on("SIGXFSZ", () => {});
const store = openSqlite(process.argv[2] ?? "");
let acknowledged = 0;
const refused = new Set<string>();
for (let round = 0; round < 50; round++) {
  const commits = Array.from({ length: 20 }, () => store.commit({ entries: [entry({ reason: "x".repeat(1000) })] }));
  for (const result of await Promise.allSettled(commits)) {
    if (result.status === "fulfilled") acknowledged += 1;
    else refused.add(result.reason instanceof MissionControlError ? result.reason.reason : String(result.reason));
  }
}
process.stdout.write(JSON.stringify({ acknowledged, refused: [...refused] }));
