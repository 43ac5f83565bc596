import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Catching } from "../../src/brakes/catch.ts";
import { isHeldNow } from "../../src/brakes/held-now.ts";
import type { EngineWorkflow } from "../../src/engines/engine.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { brake, entry } from "../store/entry.ts";

it("an engaged brake holds who asks also while a command still writes what it has caught", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-held-now-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  await store.commit({ entries: [entry()], brakes: [brake({ workflowId: "", selector: { types: ["Refund"] } })] });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const catching = new Catching(brakes, ["agents"]);
  const asks = (type: string) =>
    isHeldNow(brakes, catching, "agents", {
      id: "w1",
      type,
      name: "w",
      status: "running",
      labels: {},
    } as EngineWorkflow);
  expect([asks("Refund"), asks("Other")]).toEqual([true, false]);
  await catching.writing("br_1", new Set(["agents"]), async () => {
    expect([asks("Refund"), asks("Other")]).toEqual([true, false]);
    expect([catching.isWriting("agents"), catching.isWriting("another")]).toEqual([true, false]);
  });
});
