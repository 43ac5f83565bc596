import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { DrillSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { DrillCommand } from "../../src/brakes/drill.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { startServer } from "../../src/server.ts";
import { DrillSchedule } from "../../src/services/drill-schedule.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { policiesDir } from "../fixture/server.ts";

const log = createLog("silent");

test("it drills each engine in turn, each announced in the ledger before, and goes on where one cannot be done", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-schedule-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const commands: DrillCommand[] = [];
  const announced: string[][] = [];
  const fourth = Promise.withResolvers<void>();
  const drills = {
    engines: ["one", "two"],
    run: async (command: DrillCommand) => {
      commands.push(command);
      announced.push((await store.listEntries({ limit: 10 })).entries.map(({ entryId }) => entryId));
      if (commands.length === 4) fourth.resolve();
      if (command.engine === "one") throw new Error("somebody else is drilling");
      return create(DrillSchema);
    },
  };
  const schedule = new DrillSchedule(drills, createLedger(store, log), log);
  schedule.start(5);
  await fourth.promise;
  await schedule.stop();
  expect(commands.slice(0, 4).map(({ engine }) => engine)).toEqual(["one", "two", "one", "two"]);
  expect(commands.every(({ entryId }, i) => announced[i]?.includes(entryId))).toBe(true);
  expect((await store.listEntries({ limit: 10 })).entries.at(-1)).toMatchObject({
    phase: Phase.SYSTEM,
    action: "brake.drill.scheduled",
    engine: "one",
  });
  const done = commands.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(commands).toHaveLength(done);
});

test("more often than once a minute is refused", async () => {
  const options = { host: "127.0.0.1", port: 0, databasePath: "/nowhere", policiesDir, engines: [], issuers: [] };
  const more = { components: [], version: "test", devMode: true, log, drillEveryMs: 59_999 };
  await expect(startServer({ ...options, ...more })).rejects.toThrow("drillEveryMs is at least 60000, not 59999");
});
