import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { Brakes } from "../../../src/brakes/brakes.ts";
import { Catching } from "../../../src/brakes/catch.ts";
import { EngineBrakes } from "../../../src/brakes/reconciler/engine-brakes.ts";
import { Halting } from "../../../src/brakes/reconciler/halting.ts";
import type { Engine, EngineWorkflow, HoldAnswer } from "../../../src/engines/engine.ts";
import { restateCapabilities } from "../../../src/engines/restate/capabilities.ts";
import { createLedger } from "../../../src/ledger/ledger.ts";
import { createLog } from "../../../src/log.ts";
import type { Hold } from "../../../src/store/brake.ts";
import { openSqlite } from "../../../src/store/sqlite.ts";
import { brake, entry, hold } from "../../store/entry.ts";

/** An engine on which nothing comes to a stand; it counts how often somebody looks for what moves, and shows these. */
function stubborn(shown: readonly EngineWorkflow[] = []) {
  const looks: number[] = [];
  const asked: string[] = [];
  const engine: Partial<Engine> = {
    name: "restate",
    capabilities: restateCapabilities.default,
    open: async () => {
      looks.push(performance.now());
      return [...shown];
    },
    hold: async (ids) => {
      asked.push(...ids);
      return new Map(ids.map((id): [string, HoldAnswer] => [id, { kind: "accepted", time: 0 }]));
    },
  };
  return { engine: engine as Engine, looks, asked };
}

/** The brakes with so many holds that do not stand, and what brings these to a stand. */
async function halting(count: number, shown: readonly EngineWorkflow[] = []) {
  vi.useFakeTimers({ toFake: ["performance"] });
  const dir = mkdtempSync(join(tmpdir(), "mc-halting-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    vi.useRealTimers();
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const many = Array.from({ length: count }, (_, order) => hold({ workflowId: `restate:inv_${order}`, order }));
  await store.commit({ entries: [entry()], brakes: [brake()], holds: many });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const catching = new Catching(brakes);
  catching.looked(brake(), "restate");
  const { engine, looks, asked } = stubborn(shown);
  const on = new EngineBrakes(engine, brakes, createLog("silent"), new AbortController().signal);
  onTestFinished(on.follow());
  const halting = new Halting(on, catching);
  /** One round; how often it was looked by then. */
  const round = async () => {
    await halting.round(catching.standing(), on.mine);
    return looks.length;
  };
  return { brakes, asked, round };
}

it("while very many come to a stand, single pauses are asked for at once and put no look at what moves off", async () => {
  const { brakes, asked, round } = await halting(1_200);
  /** A pause of one workflow, and the round that follows. */
  const pause = async (id: string) => {
    const workflowId = `restate:${id}`;
    const single = brake({ brakeId: `br_${id}`, workflowId, selector: { workflowIds: [workflowId] } });
    const held: Hold = hold({ brakeId: single.brakeId, workflowId });
    await brakes.update("brake.engaged", { brakes: [single], holds: [held] }, { message: "" });
    const count = await round();
    expect(asked.at(-1)).toBe(id);
    return count;
  };
  // What a command has caught was looked at by it: the first look comes a second after.
  expect(await round()).toBe(0);
  vi.advanceTimersByTime(1_001);
  expect(await round()).toBe(1);
  vi.advanceTimersByTime(600);
  expect(await pause("one")).toBe(1);
  vi.advanceTimersByTime(500);
  expect(await pause("two")).toBe(2);
});

it("what has not begun is on no way to a stand: however much of it there is, it is looked for as often as ever", async () => {
  const pending = Array.from({ length: 1_200 }, (_, n): EngineWorkflow => {
    const none = {
      parentId: undefined,
      startTime: undefined,
      endTime: undefined,
      dueTime: undefined,
      errorMessage: "",
    };
    const [createTime, updateTime] = [new Date(), new Date()];
    const about = { id: `inv_${n}`, type: "RefundAgent", name: "", labels: {}, phase: "scheduled" };
    return { ...none, ...about, status: "pending", createTime, updateTime };
  });
  const { round } = await halting(1_200, pending);
  expect(await round()).toBe(0);
  vi.advanceTimersByTime(1_001);
  expect(await round()).toBe(1);
  vi.advanceTimersByTime(50);
  expect(await round()).toBe(2);
});
