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
import type { Brake, Hold } from "../../src/store/brake.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { brake, entry, hold } from "../store/entry.ts";

/** The brakes as a server has them that comes up with these. */
async function opened(brakes: Brake[], holds: Hold[] = []): Promise<{ brakes: Brakes; catching: Catching }> {
  const dir = mkdtempSync(join(tmpdir(), "mc-held-now-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  await store.commit({ entries: [entry()], brakes, holds });
  const open = await Brakes.open(store, createLedger(store, createLog("silent")));
  return { brakes: open, catching: new Catching(open) };
}

/** One that asks. */
const workflow = (about: Partial<EngineWorkflow>) =>
  ({ id: "w1", type: "Other", name: "w", status: "running", labels: {}, ...about }) as EngineWorkflow;

it("an engaged brake holds who asks also while a command still writes what it has caught", async () => {
  const { brakes, catching } = await opened([brake({ selector: { types: ["Refund"] } })]);
  const asks = (type: string) => isHeldNow(brakes, catching, "agents", workflow({ type }));
  expect([asks("Refund"), asks("Other")]).toEqual([true, false]);
  await catching.writing("br_1", new Set(["agents"]), async () => {
    expect([asks("Refund"), asks("Other")]).toEqual([true, false]);
    expect([catching.isWriting("agents"), catching.isWriting("another")]).toEqual([true, false]);
  });
});

it("what a brake has caught is held though it matches no more, until the brake is released or it has ended", async () => {
  const caught = (init: Partial<Brake> = {}, more: Partial<Hold> = {}) =>
    opened([brake(init)], [hold({ workflowId: "agents:w1", ...more })]);
  const isHeld = async (open: ReturnType<typeof caught>, engine = "agents") => {
    const { brakes, catching } = await open;
    return isHeldNow(brakes, catching, engine, workflow({}));
  };
  expect(await isHeld(caught())).toBe(true);
  // Another engine's own ids may be the same.
  expect(await isHeld(caught(), "others")).toBe(false);
  expect(await isHeld(caught({ state: "RELEASED" }))).toBe(false);
  expect(await isHeld(caught({}, { ended: true }))).toBe(false);
});

it("the child of what is held is held before it is caught: where the brake takes descendants, and holds the parent itself", async () => {
  const parent = (more: Partial<Hold> = {}) => hold({ workflowId: "agents:parent", ...more });
  const child = workflow({ id: "child", parentId: "parent" });
  const isHeld = async (init: Partial<Brake>, of: Hold, engine = "agents", asks = child) => {
    const { brakes, catching } = await opened([brake(init)], [of]);
    return isHeldNow(brakes, catching, engine, asks);
  };
  expect(await isHeld({}, parent())).toBe(true);
  expect(await isHeld({ includeDescendants: false }, parent())).toBe(false);
  expect(await isHeld({ state: "RELEASED" }, parent())).toBe(false);
  expect(await isHeld({}, parent({ ended: true }))).toBe(false);
  expect(await isHeld({}, hold({ workflowId: "agents:another" }))).toBe(false);
  expect(await isHeld({}, parent(), "others")).toBe(false);
  expect(await isHeld({}, parent(), "agents", workflow({ id: "root" }))).toBe(false);
  // Beyond the reach of whoever engaged it.
  const scopes = [{ engines: ["agents"], labels: { team: "payments" } }];
  expect(await isHeld({ scopes }, parent())).toBe(false);
  const mine = { ...child, labels: { team: "payments" } };
  expect(await isHeld({ scopes }, parent(), "agents", mine)).toBe(true);
});
