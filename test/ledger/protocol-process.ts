// A process of its own that does what calls do to the ledger: intent → the brake with its entry → the engine → outcome → answer.
//   protocol-process.ts <database> <engine's file> [rounds [fallback file]]
// It prints "ready <intents that it settled>", waits for a line, then prints a line of JSON for each answer: for ever, or for
// so many rounds.
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setImmediate as nextTurn } from "node:timers/promises";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { settleIntents } from "../../src/brakes/settle-intents.ts";
import { Fallback } from "../../src/ledger/fallback.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { brake } from "../store/entry.ts";

const [databasePath = "", enginePath = "", rounds = "Infinity", fallbackPath = ""] = process.argv.slice(2);
const log = createLog("silent");
const say = (line: string) => process.stdout.write(`${line}\n`);

/** What an injected fault of the disk refuses is tried again. */
async function insist<T>(work: () => T | Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 200) throw error;
      await nextTurn();
    }
  }
}

const waiting = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await waiting.next();
const database = await insist(() => openSqlite(databasePath));
let store: Store = database;
let fallback: Fallback | undefined;
if (fallbackPath !== "") {
  fallback = await insist(() => Fallback.open({ store: database, path: fallbackPath, log, retryMs: 20 }));
  await insist(() => fallback?.merge());
  fallback.start();
  store = fallback.store;
}
const ledger = createLedger(store, log);
say(`ready ${await insist(() => settleIntents(store, ledger))}`);

async function calls(name: string): Promise<void> {
  for (let n = 0; n < Number(rounds); n++) {
    const brakeId = `br_${name}_${n}`;
    const effect = n % 5 !== 0;
    try {
      const action = effect ? "runtime.pause" : "audit.erase";
      const { entryId } = await ledger.append({ phase: Phase.INTENT, action, reason: brakeId });
      if (effect) {
        await ledger.append(
          { phase: Phase.SYSTEM, action: "brake.engaged", intentEntryId: entryId, brakeId },
          { brakes: [brake({ brakeId, engageEntryId: entryId })] },
        );
        appendFileSync(enginePath, `${brakeId}\n`);
      }
      const outcome = { phase: Phase.OUTCOME, intentEntryId: entryId, brakeId, resultCode: "OK" };
      const ended = await ledger.append(outcome).then(
        () => true,
        () => false,
      );
      say(JSON.stringify({ entryId, brakeId: effect ? brakeId : "", ended }));
    } catch (error) {
      say(JSON.stringify({ refused: (error as { reason?: string }).reason ?? String(error) }));
    }
  }
}

const names = ["a", "b", "c"].map((name) => `${name}${process.pid}_${Date.now()}`);
await Promise.all(names.map(calls));
await fallback?.close();
await database.close();
process.exit();
