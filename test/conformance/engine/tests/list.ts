import { expect } from "vitest";
import type { EngineWorkflow, ListQuery, WorkflowQuery } from "../../../../src/engines/engine.ts";
import type { ConformanceTest, Tested } from "../suite.ts";

/** All pages of a query. */
async function pages({ engine }: Tested, query: WorkflowQuery, limit: number): Promise<EngineWorkflow[]> {
  const found: EngineWorkflow[] = [];
  let after: ListQuery["after"];
  for (;;) {
    const page = await engine.list({ ...query, after, limit });
    expect(page.length).toBeLessThanOrEqual(limit);
    found.push(...page);
    if (page.length < limit) return found;
    after = page.at(-1);
  }
}

const idsOf = (found: readonly EngineWorkflow[]) => found.map(({ id }) => id);

/** A few of different sorts: ended, running, scheduled. */
async function fleet({ start, look, steps }: Tested): Promise<EngineWorkflow[]> {
  const ended = await Promise.all([
    start({ does: "steps", count: 1, ms: 1 }),
    start({ does: "fail" }),
    start({ does: "queue", key: `list-${Date.now()}`, count: 1, ms: 1 }),
  ]);
  const asleep = await Promise.all([1, 2].map(() => start({ does: "sleep", ms: 600_000 })));
  const later = await start({ does: "steps", count: 1, ms: 1 }, { delayMs: 600_000 });
  await Promise.all(ended.map((id) => look.untilStatus(id, "completed", "failed")));
  await Promise.all(asleep.map((id) => steps.untilStep(id, "step-1", "end")));
  return Promise.all([...ended, ...asleep, later].map((id) => look.workflow(id)));
}

/** By the contract's own words, in the test's own way. */
function matches(query: WorkflowQuery, one: EngineWorkflow): boolean {
  const created = one.createTime.getTime();
  return (
    (query.statuses?.includes(one.status) ?? true) &&
    (query.types?.includes(one.type) ?? true) &&
    (query.ids?.includes(one.id) ?? true) &&
    Object.entries(query.labels ?? {}).every(([key, value]) => one.labels[key] === value) &&
    one.id.startsWith(query.idPrefix ?? "") &&
    one.name.startsWith(query.namePrefix ?? "") &&
    (query.createdAfter === undefined || created >= query.createdAfter.getTime()) &&
    (query.createdBefore === undefined || created < query.createdBefore.getTime()) &&
    (query.within?.some((each) => matches(each, one)) ?? true)
  );
}

/** Queries that each cut the fleet in another way. */
function queriesOf(all: readonly EngineWorkflow[]): WorkflowQuery[] {
  const [first, , , , asleep] = all as [EngineWorkflow, unknown, unknown, unknown, EngineWorkflow];
  const [label] = Object.entries(first.labels);
  const middle = all.map(({ createTime }) => createTime).toSorted((a, b) => a.getTime() - b.getTime())[3];
  return [
    {},
    { statuses: ["completed"] },
    { statuses: ["running", "pending"] },
    { statuses: ["paused", "canceled", "rolledBack"] },
    { types: [first.type] },
    { types: [first.type, asleep.type] },
    { labels: label === undefined ? {} : { [label[0]]: label[1] } },
    { labels: first.labels },
    { idPrefix: asleep.id.slice(0, -1) },
    { namePrefix: asleep.name.slice(0, 3) },
    { createdAfter: middle },
    { createdBefore: middle },
    { within: [{ types: [asleep.type] }, { ids: [first.id] }] },
    { statuses: ["running"], within: [{ types: [first.type] }] },
  ];
}

export const listTests: readonly ConformanceTest[] = [
  {
    fact: "a list has all that match everything that is asked for, and nothing else; a count is what its pages add up to",
    shows: ["list.1", "list.3", "count.1"],
    async run(tested) {
      const all = await fleet(tested);
      const ids = idsOf(all);
      for (const query of queriesOf(all)) {
        const asked = { ...query, ids };
        const found = await pages(tested, asked, 2);
        const wanted = all.filter((one) => matches(asked, one));
        expect(idsOf(found).toSorted(), JSON.stringify(query)).toEqual(idsOf(wanted).toSorted());
        const places = found.map(({ createTime, id }) => [createTime.getTime(), id] as const);
        expect(places).toEqual(places.toSorted(([a, x], [b, y]) => b - a || (x < y ? 1 : -1)));
        const counts = Object.entries(await tested.engine.count(asked)).filter(([, count]) => count > 0);
        const wantedCounts = Object.entries(Object.groupBy(found, ({ status }) => status));
        expect(Object.fromEntries(counts)).toEqual(
          Object.fromEntries(wantedCounts.map(([status, some]) => [status, some.length])),
        );
      }
      for (const { id, status } of all) if (status === "running" || status === "pending") await tested.cancel(id);
    },
  },
  {
    fact: "what is open matches one of the filters; what is paused only where it is asked for, children where they are",
    shows: ["open.1"],
    async run(tested) {
      const { engine, look, start, steps, cancel } = tested;
      const asleep = await start({ does: "sleep", ms: 600_000 });
      await steps.untilStep(asleep, "step-1", "end");
      const stands = await start({ does: "steps", count: 2, ms: 1_500 });
      await steps.untilStep(stands, "step-1");
      await look.hold(stands);
      const ended = await start({ does: "steps", count: 1, ms: 1 });
      await look.untilStatus(ended, "completed");
      const parent = await start({ does: "parent", count: 2, ms: 60_000 });
      const child = await look.child(parent);
      await look.untilStatus(child, "running");
      const mine = [asleep, stands, ended, parent, child];
      const ask = async (children: boolean, paused: boolean) => {
        const found = await engine.open({ anyOf: [{ ids: [asleep] }, { ids: [stands, ended] }], children, paused });
        return idsOf(found)
          .filter((id) => mine.includes(id))
          .toSorted();
      };
      expect(await ask(false, true)).toEqual([asleep, stands].toSorted());
      expect(await ask(false, false)).toEqual([asleep]);
      expect(await ask(true, false)).toEqual([asleep, child].toSorted());
      for (const id of [asleep, stands, parent]) await cancel(id);
      await look.untilStatus(parent, "canceled");
    },
  },
  {
    fact: "very many open ones are all found, and their statuses asked for in one call",
    shows: ["open.1", "statuses.1"],
    async run({ engine, start, cancel }) {
      const ids: string[] = [];
      while (ids.length < 250) {
        const some = Array.from({ length: 25 }, () => start({ does: "steps", count: 1, ms: 1 }, { delayMs: 600_000 }));
        ids.push(...(await Promise.all(some)));
      }
      const mine = new Set(ids);
      const found = await engine.open({ anyOf: [{}], children: false, paused: true });
      expect(idsOf(found).filter((id) => mine.has(id))).toHaveLength(ids.length);
      const statuses = await engine.statuses(ids);
      expect([...statuses.keys()].toSorted()).toEqual(ids.toSorted());
      for (const status of statuses.values()) expect(["pending", "running"]).toContain(status);
      expect(await engine.get(ids)).toHaveLength(ids.length);
      await Promise.all(ids.map(cancel));
    },
  },
  {
    fact: "paged while others start, move and end: what is there all the time is found exactly once",
    shows: ["list.2", "list.1"],
    async run(tested) {
      const { start, steps, cancel, look } = tested;
      const from = new Date(Date.now() - 1_000);
      const lasting = await Promise.all(Array.from({ length: 12 }, () => start({ does: "sleep", ms: 600_000 })));
      await Promise.all(lasting.map((id) => steps.untilStep(id, "step-1", "end")));
      let paging = true;
      const stir = async () => {
        while (paging) {
          const id = await start({ does: "steps", count: 2, ms: 5 });
          await look.untilStatus(id, "completed");
        }
      };
      const stirring = Promise.all([stir(), stir()]);
      try {
        for (let again = 0; again < 5; again++) {
          const found = idsOf(await pages(tested, { createdAfter: from }, 3)).filter((id) => lasting.includes(id));
          expect(found.toSorted()).toEqual(lasting.toSorted());
        }
      } finally {
        paging = false;
        await stirring;
      }
      await Promise.all(lasting.map(cancel));
    },
  },
  {
    fact: "a workflow by its id is as a list shows it, in every status; what is not known is not there",
    shows: ["get.1", "observe.3"],
    async run(tested) {
      const { engine, cancel } = tested;
      const all = await fleet(tested);
      const ids = idsOf(all);
      const got = await engine.get([...ids, "nothing of this engine's"]);
      const byId = (a: EngineWorkflow, b: EngineWorkflow) => (a.id < b.id ? -1 : 1);
      expect(got.toSorted(byId)).toEqual((await engine.list({ ids, limit: 100 })).toSorted(byId));
      expect([...(await engine.observe([...ids, "nothing of this engine's"])).keys()].toSorted()).toEqual(
        ids.toSorted(),
      );
      for (const { id, status } of all) if (status === "running" || status === "pending") await cancel(id);
    },
  },
  {
    fact: "the handlers with labels are those whose workflows carry all of them, and no others",
    shows: ["handlersWith.1"],
    async run({ engine, start, look, handlerOf }) {
      const script = { does: "steps", count: 1, ms: 1 } as const;
      const id = await start(script);
      const { labels } = await look.untilStatus(id, "completed");
      // Labels that say which one it is are not a handler's.
      const known = await Promise.all(
        Object.entries(labels).map(async ([key, value]) => {
          const found = await engine.handlersWith({ [key]: value });
          return found.includes(handlerOf(script)) ? [key, value] : [];
        }),
      );
      const own = Object.fromEntries(known.filter((pair) => pair.length === 2)) as Record<string, string>;
      expect(Object.keys(own)).not.toEqual([]);
      expect(await engine.handlersWith(own)).toContain(handlerOf(script));
      for (const [key, value] of Object.entries(own)) {
        expect(await engine.handlersWith({ ...own, [key]: `${value}, not` })).toEqual([]);
      }
      expect(await engine.handlersWith({ ...own, "no such label": "x" })).toEqual([]);
    },
  },
];
