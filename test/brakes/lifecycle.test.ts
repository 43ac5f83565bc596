import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Lifecycle } from "../../src/brakes/lifecycle.ts";
import { EngineRegistry } from "../../src/engines/registry.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import type { Brake } from "../../src/store/brake.ts";
import { openSqlite } from "../../src/store/sqlite.ts";

const log = createLog("silent");

test("an emergency that nobody approves in time is released; one that was approved stays", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-lifecycle-"));
  const store = openSqlite(join(dir, "db"));
  const brakes = await Brakes.open(store, createLedger(store, log));
  const lifecycle = new Lifecycle(brakes, new EngineRegistry([]), 60_000, log);
  onTestFinished(async () => {
    await lifecycle.stop();
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const engaged = [emergency("br_waits", ""), emergency("br_approved", "bob")];
  await brakes.update("brake.engaged", { brakes: engaged }, { message: "", reason: "fire", emergency: true });
  lifecycle.start();
  await vi.waitFor(() => expect(brakes.active("br_waits")).toBeUndefined(), { timeout: 10_000 });
  expect(await store.brake("br_waits")).toMatchObject({ state: "RELEASED", release: { by: "" } });
  expect(brakes.active("br_approved")).toMatchObject({ state: "ENGAGED" });
  const { entries } = await store.listEntries({ actions: ["brake.unapproved"], limit: 10 });
  expect(entries).toMatchObject([{ brakeId: "br_waits", emergency: true }]);
});

function emergency(brakeId: string, approvedBy: string): Brake {
  const now = Date.now();
  return {
    brakeId,
    selector: { types: ["Steps"] },
    workflowId: "",
    includeDescendants: true,
    state: "ENGAGED",
    reason: "fire",
    ticket: "",
    emergency: true,
    engagedBy: "sam",
    issuer: "test",
    radius: 1,
    createTime: now,
    engageTime: now,
    expiresInMs: undefined,
    expiryWarned: false,
    engageEntryId: "",
    approval: {
      matched: 2,
      setHash: "",
      ids: [],
      tolerance: 5,
      approvedBy,
      approveTime: undefined,
      approveEntryId: "",
      approveBy: now + 100,
    },
    release: undefined,
    gates: [],
  };
}
