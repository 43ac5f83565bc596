import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { Brakes } from "../../../src/brakes/brakes.ts";
import { Catching } from "../../../src/brakes/catch.ts";
import { Outages } from "../../../src/brakes/outages.ts";
import { Reconciler } from "../../../src/brakes/reconciler.ts";
import type { Engine, EngineWorkflow, HoldAnswer, ReleaseAnswer } from "../../../src/engines/engine.ts";
import { restateCapabilities } from "../../../src/engines/restate/capabilities.ts";
import { createLedger } from "../../../src/ledger/ledger.ts";
import { createLog } from "../../../src/log.ts";
import { overlaid } from "../../../src/store/overlay.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";
import type { Change, Store } from "../../../src/store/store.ts";
import { brake, entry } from "../../store/entry.ts";

/** An engine with one workflow, paused and let go as asked; `starts` takes what happens while it is looked for what moves. */
function engineWithOne() {
  const asked: string[] = [];
  let paused = false;
  let runs = false;
  let opened: (() => Promise<void>) | undefined;
  const row = (): EngineWorkflow => ({
    ...{
      id: "inv_1",
      type: "RefundAgent",
      name: "",
      status: paused ? "paused" : "running",
      phase: "suspended",
      labels: {},
    },
    ...{
      parentId: undefined,
      createTime: new Date(),
      startTime: new Date(),
      updateTime: new Date(),
      endTime: undefined,
    },
    ...{ errorMessage: "", dueTime: undefined },
  });
  const engine: Partial<Engine> = {
    name: "restate",
    capabilities: { ...restateCapabilities.default, settleMs: 0 },
    open: async (query) => {
      const found = runs && (query.paused || !paused) ? [row()] : [];
      if (found.length > 0 && !query.anyOf.some(({ statuses }) => statuses)) await opened?.();
      return found;
    },
    statuses: async (ids) => new Map(ids.map((id) => [id, row().status])),
    get: async () => [row()],
    observe: async () =>
      new Map([["inv_1", { status: row().status, phase: row().phase, steps: [], hidesStep: false }]]),
    pausedByGate: async () => new Set<string>(),
    hold: async (ids) => {
      for (const id of ids) asked.push(`hold ${id}`);
      if (ids.length > 0) paused = true;
      return new Map(ids.map((id): [string, HoldAnswer] => [id, { kind: "accepted", time: Date.now() }]));
    },
    release: async (ids) => {
      for (const id of ids) asked.push(`release ${id}`);
      if (ids.length > 0) paused = false;
      return new Map(ids.map((id): [string, ReleaseAnswer] => [id, { kind: "released" }]));
    },
  };
  return {
    engine: engine as Engine,
    asked,
    isPaused: () => paused,
    starts: (meanwhile?: () => Promise<void>) => {
      runs = true;
      opened = meanwhile;
    },
  };
}

type Commit = Store["commit"];

async function started(commit?: (change: Change, real: Commit) => ReturnType<Commit>) {
  const dir = mkdtempSync(join(tmpdir(), "mc-released-"));
  const real = openSqlite(join(dir, "ledger.db"));
  const store = commit ? overlaid(real, { commit: (change) => commit(change, (one) => real.commit(one)) }) : real;
  await real.commit({ entries: [entry()], brakes: [brake()] });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const catching = new Catching(brakes);
  const world = engineWithOne();
  const outages = new Outages(["restate"], catching);
  const gates = { lowered: async () => undefined, areUsed: false, takeHeld: () => [] };
  const reconciler = new Reconciler(world.engine, brakes, catching, gates, outages, 100, createLog("silent"));
  reconciler.start();
  onTestFinished(async () => {
    await reconciler.stop();
    await real.close();
    rmSync(dir, { recursive: true });
  });
  await vi.waitFor(() => expect(catching.isFirstLook(brake(), "restate")).toBe(false));
  const release = () => {
    const state = "RELEASED" as const;
    const by = { by: "alice", reason: "", time: Date.now(), entryId: "", staged: undefined, letGo: 0 };
    const released = brake({ state, release: { ...by, stageTime: Date.now(), haltedBecause: "" } });
    return brakes.update("brake.released", { brakes: [released] }, { message: "" });
  };
  return { ...world, brakes, reconciler, release };
}

async function untilRested({ reconciler, isPaused, brakes }: Awaited<ReturnType<typeof started>>) {
  await vi.waitFor(() => expect(reconciler.state.lagMs).toBe(0), { timeout: 5_000 });
  await vi.waitFor(() => expect(isPaused()).toBe(false), { timeout: 5_000 });
  expect(brakes.count).toBe(0);
}

it("what starts while its brake is released is not left paused", async () => {
  const world = await started();
  let isReleased = false;
  world.starts(async () => {
    if (!isReleased) await world.release();
    isReleased = true;
  });
  await vi.waitFor(() => expect(isReleased).toBe(true));
  await untilRested(world);
});

it("what is caught while its brake is released is let go again", async () => {
  const world = await started(async (change, real) => {
    if (change.holds?.length && !isReleased) {
      isReleased = true;
      await world.release();
    }
    return real(change);
  });
  let isReleased = false;
  world.starts();
  await vi.waitFor(() => expect(isReleased).toBe(true));
  await untilRested(world);
});

it("what was caught and could not be written is let go with its brake", async () => {
  let isFull = true;
  const world = await started((change, real) =>
    change.holds?.length && isFull ? Promise.reject(new Error("the disk is full")) : real(change),
  );
  world.starts();
  await vi.waitFor(() => expect(world.isPaused()).toBe(true));
  await world.release();
  isFull = false;
  await untilRested(world);
});
