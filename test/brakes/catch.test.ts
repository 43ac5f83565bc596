import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Catching } from "../../src/brakes/catch.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { brake, entry } from "../store/entry.ts";

it("while a command writes what it has caught for a brake nobody else catches for it, whatever becomes of the writing", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-catch-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const brakes = [brake({ brakeId: "br_1" }), brake({ brakeId: "br_2" })];
  await store.commit({ entries: [entry()], brakes });
  const catching = new Catching(await Brakes.open(store, createLedger(store, createLog("silent"))));
  const standing = () => catching.standing().map(({ brakeId }) => brakeId);
  expect(standing()).toEqual(["br_1", "br_2"]);
  const written = catching.writing("br_1", new Set(["restate"]), async () => {
    expect(standing()).toEqual(["br_2"]);
    expect(catching.engaged()).toHaveLength(2);
    throw new Error("the disk is full");
  });
  await expect(written).rejects.toThrow("the disk is full");
  expect(standing()).toEqual(["br_1", "br_2"]);
  expect(catching.isWriting("restate")).toBe(false);
});
