import { expect } from "vitest";
import { stepNames } from "../looking.ts";
import type { ConformanceTest } from "../suite.ts";
import { reads } from "./faults.ts";

/** Texts that mean something to somebody: to a shell, to SQL, to a URL, to a terminal. `real` is an id that there is. */
const strange = (real: string): string[] => [
  "",
  " ",
  ".",
  "../../../query",
  "..%2f..%2fquery",
  "'",
  "' OR '1'='1",
  `${real}' OR id <> '`,
  `${real}/../${real}`,
  `${real}?all=true`,
  `${real}#`,
  `${real}\0`,
  `${real}\r\nx-forged: yes`,
  ` ${real}`,
  `${real} `,
  `${real},${real}`,
  `${real.slice(0, -1)}`,
  `${real}${real}`,
  "*",
  "%",
  "_",
  "null",
  "__proto__",
  "constructor",
  "\u202e\u0000\u001b[2J",
  "日本語 – 🧨",
  "\ud800",
  "x".repeat(100_000),
];

export const strangeTests: readonly ConformanceTest[] = [
  {
    fact: "ids of any characters and length are no workflow's: not found, not held, and nothing else is touched",
    shows: ["every.4", "hold.3", "release.3", "get.1", "observe.3", "statuses.1"],
    async run({ engine, look, start, steps, cancel }) {
      const real = await start({ does: "sleep", ms: 600_000 });
      await steps.untilStep(real, "step-1", "end");
      const runs = await start({ does: "steps", count: 3, ms: 150 });
      const ids = strange(real);
      expect(await engine.get(ids)).toEqual([]);
      expect([...(await engine.statuses(ids)).keys()]).toEqual([]);
      expect([...(await engine.observe(ids)).keys()]).toEqual([]);
      expect(await engine.timers(ids)).toEqual([]);
      expect([...(await engine.pausedByGate(ids))]).toEqual([]);
      expect(await engine.list({ ids, limit: 100 })).toEqual([]);
      expect(await engine.open({ anyOf: [{ ids }], children: false, paused: true })).toEqual([]);
      for (const id of ids) expect(await engine.trace(id)).toBeUndefined();
      const unknown = new Map(ids.map((id) => [id, { kind: "unknown" }]));
      expect(await engine.hold(ids)).toEqual(unknown);
      expect(await engine.release(ids)).toEqual(unknown);
      await look.untilStatus(runs, "completed");
      look.expectRan(runs, stepNames(3));
      expect((await engine.statuses([real])).get(real)).toBe("running");
      await cancel(real);
    },
  },
  {
    fact: "texts of any characters in a query are values: what is not there matches nothing",
    shows: ["every.4", "list.3"],
    async run({ engine, look, start }) {
      const id = await start({ does: "steps", count: 1, ms: 1 });
      const { name } = await look.untilStatus(id, "completed");
      // Where the name is the id, a part of it is there.
      for (const text of strange(id).filter((one) => one.trim() !== "" && !name.startsWith(one))) {
        const none = { open: [], count: 0, list: [] };
        for (const query of [{ types: [text] }, { labels: { [text]: text } }, { namePrefix: text }]) {
          const counts = Object.values(await engine.count(query));
          expect({
            list: await engine.list({ ...query, limit: 10 }),
            open: await engine.open({ anyOf: [query], children: false, paused: true }),
            count: counts.reduce((sum, count) => sum + count, 0),
          }).toEqual(none);
        }
        expect(await engine.handlersWith({ [text]: text })).toEqual([]);
      }
    },
  },
  {
    fact: "no ids are none",
    shows: ["every.5"],
    async run({ engine, look, start, steps }) {
      const id = await start({ does: "steps", count: 4, ms: 100 });
      await steps.untilStep(id, "step-1");
      expect([...(await engine.hold([]))]).toEqual([]);
      expect([...(await engine.release([]))]).toEqual([]);
      expect([...(await engine.statuses([]))]).toEqual([]);
      expect([...(await engine.observe([]))]).toEqual([]);
      expect([...(await engine.pausedByGate([]))]).toEqual([]);
      expect(await engine.get([])).toEqual([]);
      expect(await engine.timers([])).toEqual([]);
      expect(await engine.list({ ids: [], limit: 10 })).toEqual([]);
      expect(await engine.list({ statuses: [], limit: 10 })).toEqual([]);
      expect(await engine.list({ types: [], limit: 10 })).toEqual([]);
      expect(await engine.list({ within: [], limit: 10 })).toEqual([]);
      expect(await engine.open({ anyOf: [], children: false, paused: true })).toEqual([]);
      expect(await engine.open({ anyOf: [{ ids: [] }], children: false, paused: true })).toEqual([]);
      await look.untilStatus(id, "completed");
      look.expectRan(id, stepNames(4));
    },
  },
  {
    fact: "whoever looks changes nothing: read all the time, it runs as it would have, and what is idle stays so",
    shows: ["every.6"],
    async run({ engine, look, start, steps, cancel }) {
      const idle = await start({ does: "await", idle: true });
      await steps.untilAwakeable(idle);
      const runs = await start({ does: "steps", count: 4, ms: 80 });
      await look.until("its end", async () => {
        for (const [, read] of reads) await read(engine, [runs, idle]);
        return (await engine.statuses([runs])).has(runs) ? undefined : true;
      });
      look.expectRan(runs, stepNames(4));
      expect(steps.of(idle, "step-2")).toEqual([]);
      expect((await engine.statuses([idle])).get(idle)).toBe("running");
      await cancel(idle);
    },
  },
  {
    fact: "every id that it gave out is one of its own",
    shows: ["isId.1"],
    async run({ engine, start, look }) {
      const id = await start({ does: "parent", count: 1, ms: 1 });
      await look.untilStatus(id, "completed");
      for (const given of [id, await look.child(id)]) expect(engine.isId(given)).toBe(true);
      for (const other of ["", "'", "../x", "another-engine:1"]) expect(engine.isId(other)).toBe(false);
    },
  },
];
