import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { settleIntents } from "../../src/brakes/settle-intents.ts";
import { Fallback } from "../../src/ledger/fallback.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { type Answer, allEntries, toldWrongly } from "./protocol-checks.ts";

const noFiu = spawnSync("fiu-run", ["-h"]).error !== undefined;
if (noFiu)
  process.stdout.write("skipped: faults of the disk are injected by libfiu (fiu-run, Debian package fiu-utils)\n");

const rounds = 100;
const errors = { ENOSPC: 28, EIO: 5 } as const;
const log = createLog("silent");

describe.skipIf(noFiu)("on a disk of which one write in twenty fails", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "mc-faults-"));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it.each([
    ["ENOSPC", ""],
    ["EIO", ""],
    ["ENOSPC", "fallback"],
    ["EIO", "fallback"],
  ] as const)(
    "%s %s: nothing that was acknowledged is lost, nothing takes effect unseen",
    async (error, fallback) => {
      const files = {
        database: join(dir, "ledger.db"),
        engine: join(dir, "engine"),
        fallback: fallback && join(dir, fallback),
      };
      const failing = ["posix/io/rw/pwrite", "posix/io/sync/fsync", "posix/io/sync/fdatasync"].flatMap((name) => [
        "-c",
        `enable_random name=${name},probability=0.05,failinfo=${errors[error]}`,
      ]);
      const script = join(import.meta.dirname, "protocol-process.ts");
      // The disk is whole until the database is there; a start that the disk refuses all the same is tried again, as a supervisor does.
      await openSqlite(files.database).close();
      const answers: Answer[] = [];
      const refused: string[] = [];
      for (let start = 0, ready = false; !ready && start < 20; start++) {
        const child = spawn(
          "fiu-run",
          ["-x", ...failing, process.execPath, script, files.database, files.engine, String(rounds), files.fallback],
          { stdio: ["pipe", "pipe", "inherit"] },
        );
        child.stdin.on("error", () => undefined).write("\n");
        for await (const line of createInterface({ input: child.stdout })) {
          if (line.startsWith("ready")) {
            ready = true;
            continue;
          }
          const told: Answer & { refused?: string } = JSON.parse(line);
          if (told.refused === undefined) answers.push(told);
          else refused.push(told.refused);
        }
      }
      expect(answers.length + refused.length).toBe(3 * rounds);
      expect(answers.length).toBeGreaterThan(0);
      expect([...new Set(refused)].filter((reason) => reason !== "LEDGER_UNAVAILABLE")).toEqual([]);
      if (!fallback) expect(refused.length + answers.filter(({ ended }) => !ended).length).toBeGreaterThan(0);

      const store = openSqlite(files.database);
      const left = fallback && (await Fallback.open({ store, path: files.fallback, log }));
      if (left) await left.merge();
      await settleIntents(store, createLedger(store, log));
      expect(await toldWrongly(store, answers, files.engine)).toEqual([]);
      const kept = (await allEntries(store)).filter(({ fromFallback }) => fromFallback);
      if (fallback) expect(kept.length).toBeGreaterThan(0);
      if (left) await left.close();
      await store.close();
    },
    60_000,
  );
});
