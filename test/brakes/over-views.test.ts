import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Surroundings } from "../../src/brakes/brake-view.ts";
import { Brakes } from "../../src/brakes/brakes.ts";
import { OverViews } from "../../src/brakes/over-views.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { brake, hold } from "../store/entry.ts";

const alone = {
  gates: { attached: () => [] },
  outages: { of: () => [], hidesFrom: () => false },
} as unknown as Surroundings;

test("what was remembered of a brake that is over is forgotten when something more is caught for it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-over-"));
  const store = openSqlite(join(dir, "db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const about = { message: "", reason: "", emergency: false };
  const over = brake({ state: "RELEASED" });
  await brakes.update("brake.released", { brakes: [over] }, about);
  const views = new OverViews(brakes);
  const shown = views.of({ brake: over, holds: [], whole: true }, alone);
  expect(shown.receipt?.matched).toBe(0);
  expect(views.get(over, alone)).toBe(shown);
  await brakes.update("brake.caught", { holds: [hold()] }, about);
  expect(views.get(over, alone)).toBeUndefined();
});
