import { expect } from "vitest";
import type { Engine } from "../../../../src/engines/engine.ts";
import { MissionControlError } from "../../../../src/errors.ts";
import type { Fault } from "../harness.ts";
import { stepNames } from "../looking.ts";
import type { ConformanceTest, Tested } from "../suite.ts";

type Call = (engine: Engine, ids: readonly string[], signal?: AbortSignal) => Promise<unknown>;

/** Every method of the contract that asks the engine. */
export const everyMethod: readonly (readonly [name: keyof Engine, call: Call])[] = [
  ["probe", (engine, _ids, signal) => engine.probe(signal)],
  ["list", (engine, ids, signal) => engine.list({ ids, limit: 10 }, signal)],
  ["open", (engine, ids, signal) => engine.open({ anyOf: [{ ids }], children: false, paused: true }, signal)],
  ["statuses", (engine, ids, signal) => engine.statuses(ids, signal)],
  ["count", (engine, ids, signal) => engine.count({ ids }, signal)],
  ["handlersWith", (engine, _ids, signal) => engine.handlersWith({ nobody: "has this" }, signal)],
  ["get", (engine, ids, signal) => engine.get(ids, signal)],
  ["observe", (engine, ids, signal) => engine.observe(ids, signal)],
  ["timers", (engine, ids, signal) => engine.timers(ids, signal)],
  ["pausedByGate", (engine, ids, signal) => engine.pausedByGate(ids, signal)],
  ["trace", (engine, ids, signal) => engine.trace(ids[0] ?? "", signal)],
  ["changedSince", (engine, _ids, signal) => engine.changedSince(new Date(), 10, signal)],
  ["hold", (engine, ids, signal) => engine.hold(ids, signal)],
  ["release", (engine, ids, signal) => engine.release(ids, signal)],
];

/** Those that have no effect. */
export const reads = everyMethod.filter(([name]) => name !== "hold" && name !== "release");

/** The longest that a method may take, ms. */
const settlesWithinMs = 30_000;

/** A workflow that sleeps as long as the test wants it, and is ended after. */
async function sleeping(tested: Tested): Promise<string> {
  const id = await tested.start({ does: "sleep", ms: 600_000 });
  await tested.steps.untilStep(id, "step-1", "end");
  return id;
}

/** What a method came to: "resolved", or how it was rejected. A hold that is refused for each of its workflows is no less. */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    const answer = await call;
    const refused = answer instanceof Map && [...answer.values()].every((each) => each?.kind === "refused");
    return refused && answer.size > 0 ? "ENGINE_UNAVAILABLE" : "resolved";
  } catch (error) {
    if (error instanceof MissionControlError) return error.reason;
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

/** What every method comes to, all asked at the same time. */
async function outcomes(engine: Engine, id: string, signal?: AbortSignal): Promise<Record<string, string>> {
  const all = everyMethod.map(async ([name, call]) => [name, await outcome(call(engine, [id], signal))] as const);
  return Object.fromEntries(await Promise.all(all));
}

const allOf = (what: string) => Object.fromEntries(everyMethod.map(([name]) => [name, what]));

const unanswered = (fault: Fault, how: string): ConformanceTest => ({
  fact: `where the engine ${how}, no method resolves as if there was nothing`,
  shows: ["every.1", ...(fault === "silent" || fault === "endless" ? (["every.2"] as const) : [])],
  needsLink: true,
  async run(tested) {
    const id = await sleeping(tested);
    const line = await tested.line();
    line.set(fault);
    const began = performance.now();
    expect(await outcomes(line.engine, id)).toEqual(allOf("ENGINE_UNAVAILABLE"));
    expect(performance.now() - began).toBeLessThan(settlesWithinMs);
    line.set("none");
    // Back again, it answers: nothing of the bad answers is kept.
    expect(await outcomes(line.engine, id)).toEqual(allOf("resolved"));
    await line.look.untilStands(id).catch(() => undefined);
    await tested.cancel(id);
  },
});

export const faultTests: readonly ConformanceTest[] = [
  unanswered("unreachable", "cannot be reached"),
  unanswered("cutOff", "is cut off in the middle of an answer"),
  unanswered("error", "answers with an error"),
  unanswered("foreign", "is not what answers"),
  unanswered("silent", "takes a question and is silent"),
  unanswered("endless", "answers without an end"),
  {
    fact: "a slow engine is waited for: every method answers as if it was quick, and what is held comes to a stand",
    shows: ["every.2", "hold.4", "observe.2", "release.1"],
    needsLink: true,
    async run(tested) {
      const { start, steps, cancel } = tested;
      const asleep = await sleeping(tested);
      const { set, engine, look } = await tested.line();
      set("slow");
      expect(await outcomes(engine, asleep)).toEqual(allOf("resolved"));
      const id = await start({ does: "steps", count: 100, ms: 300 });
      await steps.untilStep(id, "step-1");
      await look.hold(id);
      await look.expectStill(id);
      expect((await engine.get([id])).map(({ status }) => status)).toEqual(["paused"]);
      expect((await engine.release([id])).get(id)).toEqual({ kind: "released" });
      const before = steps.of(id).length;
      await steps.until("that it goes on", () => steps.of(id).length > before);
      await Promise.all([cancel(id), cancel(asleep)]);
    },
  },
  {
    fact: "an engine that only says that it is there is not there",
    shows: ["probe.1"],
    needsLink: true,
    async run({ line }) {
      const { engine, set } = await line();
      set("halfUp");
      expect(await outcome(engine.probe())).toBe("ENGINE_UNAVAILABLE");
      set("none");
      expect(await engine.probe()).toEqual({ version: expect.stringMatching(/./) });
    },
  },
  {
    fact: "an engine that says yes to a hold and does nothing is not believed: nothing is shown as paused",
    shows: ["statuses.2", "hold.4"],
    needsLink: true,
    async run(tested) {
      const { start, steps, look } = tested;
      const id = await start({ does: "steps", count: 4, ms: 150 });
      await steps.untilStep(id, "step-1");
      const line = await tested.line();
      await line.engine.probe();
      line.set("lying");
      for (let again = 0; again < 3; again++) {
        expect((await line.engine.hold([id])).get(id)?.kind).toBe("accepted");
        expect((await line.engine.statuses([id])).get(id)).not.toBe("paused");
        expect((await line.engine.observe([id])).get(id)?.status).not.toBe("paused");
      }
      await look.untilStatus(id, "completed");
      look.expectRan(id, stepNames(4));
    },
  },
  {
    fact: "an aborted call ends at once, with the signal's reason, whatever it waits for",
    shows: ["every.3"],
    needsLink: true,
    async run(tested) {
      const id = await sleeping(tested);
      const line = await tested.line();
      line.set("silent");
      const reason = new Error("nobody wants to know any more");
      expect(await outcomes(line.engine, id, AbortSignal.abort(reason))).toEqual(allOf(`Error: ${reason.message}`));
      const asking = new AbortController();
      const asked = outcomes(line.engine, id, asking.signal);
      await line.untilKept(1);
      const aborted = performance.now();
      asking.abort(reason);
      expect(await asked).toEqual(allOf(`Error: ${reason.message}`));
      // Far less than any timeout of an adapter.
      expect(performance.now() - aborted).toBeLessThan(5_000);
      await tested.cancel(id);
    },
  },
  {
    fact: "what the brake asks does not wait behind the reads of people",
    shows: ["every.7"],
    needsLink: true,
    async run(tested) {
      const id = await sleeping(tested);
      const line = await tested.line();
      await line.engine.probe();
      line.set("silent");
      const leaving = new AbortController();
      const reads = Array.from({ length: 40 }, () => outcome(line.engine.list({ limit: 500 }, leaving.signal)));
      await line.untilKept(1);
      line.set("none");
      const began = performance.now();
      const brake: [string, Call][] = [
        ["open", (engine, ids) => engine.open({ anyOf: [{ ids }], children: false, paused: true })],
        ["hold", (engine, ids) => engine.hold(ids)],
        ["statuses", (engine, ids) => engine.statuses(ids)],
        ["observe", (engine, ids) => engine.observe(ids, undefined, true)],
        ["release", (engine, ids) => engine.release(ids)],
      ];
      for (const [name, call] of brake)
        expect([name, await outcome(call(line.engine, [id]))]).toEqual([name, "resolved"]);
      // The reads wait still: they were not what ended.
      expect(performance.now() - began).toBeLessThan(9_000);
      leaving.abort(new Error("left"));
      expect(await Promise.all(reads)).toContain("Error: left");
      await tested.cancel(id);
    },
  },
];
