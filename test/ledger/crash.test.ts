import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { settleIntents } from "../../src/brakes/settle-intents.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { Random } from "../brakes/crash-random.ts";
import { type Answer, allEntries, toldWrongly } from "./protocol-checks.ts";

const kills = 100;
/** The same seed makes the same pauses before each crash; CRASH_SEED sets it. */
const seed = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-crash-ledger-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

interface Running {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  readonly answers: Answer[];
  readonly serving: Promise<number>;
  readonly gone: Promise<unknown>;
}

/** Loads a process; it begins when it is written to. */
function load(): Running {
  const script = join(import.meta.dirname, "protocol-process.ts");
  const child = spawn(process.execPath, [script, join(dir, "ledger.db"), join(dir, "engine")], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { NODE_COMPILE_CACHE: join(dir, "compiled") },
  });
  const answers: Answer[] = [];
  const { promise: serving, resolve } = Promise.withResolvers<number>();
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    if (line.startsWith("ready ")) resolve(Number(line.slice(6)));
    else if (line.endsWith("}")) answers.push(JSON.parse(line));
  });
  return { child, answers, serving, gone: Promise.all([once(child, "exit"), once(lines, "close")]) };
}

test(`killed ${kills} times: every answer has its entries, every effect its intent, every open intent is settled as what it was`, async () => {
  const random = new Random(seed);
  const answers: Answer[] = [];
  let settled = 0;
  // One is loaded while the other is at work: a restart takes a moment.
  let next = load();
  for (let killed = 0; killed < kills; killed++) {
    const { child, serving, gone, answers: given } = next;
    child.stdin.write("\n");
    settled += await serving;
    next = load();
    // The pause is what is at random, not what is waited for.
    await delay(random.below(30));
    child.kill("SIGKILL");
    await gone;
    answers.push(...given);
  }
  next.child.kill("SIGKILL");
  await next.gone;

  const store = openSqlite(join(dir, "ledger.db"));
  settled += await settleIntents(store, createLedger(store, createLog("silent")));
  expect(await store.openIntents()).toEqual([]);
  expect(await toldWrongly(store, answers, join(dir, "engine"))).toEqual([]);
  const codes = (await allEntries(store))
    .filter(({ message }) => message.startsWith("settled at start"))
    .map(({ resultCode }) => resultCode);
  process.stdout.write(`${answers.length} answers, ${settled} intents settled (CRASH_SEED=${seed})\n`);
  expect(codes).toHaveLength(settled);
  expect([...new Set(codes)].sort()).toEqual(["ABORTED", "OK", "UNKNOWN"]);
  expect(answers.length).toBeGreaterThan(kills);
  await store.close();
}, 400_000);
