import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Catching } from "../../src/brakes/catch.ts";
import { Outages } from "../../src/brakes/outages.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { brake, entry } from "../store/entry.ts";

it("of a brake that has not looked at everything somewhere, something is hidden, whether that engine is away, slow or back", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-outages-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const engaged = brake({ selector: { types: ["Refund"] } });
  await store.commit({ entries: [entry()], brakes: [engaged] });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const catching = new Catching(brakes);
  const outages = new Outages(["near", "far"], catching);
  expect(outages.hidesFrom(engaged)).toBe(true);
  catching.looked(engaged, "near");
  const since = outages.began("far", "no answer");
  expect(outages.hidesFrom(engaged)).toBe(true);
  expect(outages.began("far", "still none")).toBe(since);
  // It answers again, whatever it was asked: that is not to have looked.
  outages.ended("far");
  expect(outages.hidesFrom(engaged)).toBe(true);
  catching.looked(engaged, "far");
  expect(outages.hidesFrom(engaged)).toBe(false);
  expect(outages.hidesFrom({ ...engaged, state: "RELEASED" })).toBe(false);
});
