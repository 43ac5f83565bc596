import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { compileSelector } from "../../src/brakes/selector.ts";
import type { EngineStatus, EngineWorkflow, WorkflowQuery } from "../../src/engines/engine.ts";
import { MissionControlError } from "../../src/errors.ts";

const engines = ["restate", "lab", "la"];
const types = ["RefundAgent", "Refund", "", "größe", "__proto__"];
const statuses: EngineStatus[] = ["pending", "running", "paused", "completed", "failed", "canceled", "rolledBack"];
const keys = ["risk", "__proto__", "constructor", "größe", "a b", "owner"];
const values = ["high", "", "a=b", "=", "✓", "Object"];
const prefixes = ["", "a", "ab", "a:", "inv_", "😀"];

/** mulberry32: the same run for the same seed. */
function generator(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => Math.floor(next() * n);
  const one = <T>(items: readonly T[]): T => items[below(items.length)] as T;
  const some = <T>(items: readonly T[], share: number) => items.filter(() => next() < share);
  return { below, one, some, chance: (share: number) => next() < share };
}

type Random = ReturnType<typeof generator>;

function anyWorkflow({ one, some, below, chance }: Random): EngineWorkflow {
  const createTime = new Date(1_700_000_000_000 + below(20));
  return {
    id: `${one(prefixes)}${below(3)}`,
    type: one(types),
    name: `${one(prefixes)}${one(prefixes)}/x`,
    status: one(statuses),
    phase: "running",
    labels: Object.fromEntries(some(keys, 0.6).map((key) => [key, one(values)])),
    parentId: chance(0.3) ? "p" : undefined,
    createTime,
    startTime: chance(0.5) ? createTime : undefined,
    updateTime: createTime,
    endTime: undefined,
    errorMessage: "",
    dueTime: undefined,
  };
}

function anySelector({ one, some, below, chance }: Random): MessageInitShape<typeof SelectorSchema> {
  const time = () => timestampFromMs(1_700_000_000_000 + below(20));
  return {
    ...(chance(0.3) && { engines: some(engines, 0.6) }),
    ...(chance(0.3) && { types: some(types, 0.6) }),
    ...(chance(0.3) && { statuses: some([Status.PENDING, Status.RUNNING, Status.PAUSED], 0.6) }),
    ...(chance(0.3) && { labels: some(keys, 0.3).map((key) => `${key}=${one(values)}`) }),
    ...(chance(0.3) && {
      idPrefix: one(["", "l", "la", "la:", "lab:", "restate:", `${one(engines)}:${one(prefixes)}`]),
    }),
    ...(chance(0.3) && { namePrefix: one(prefixes) }),
    ...(chance(0.2) && { createdAfter: time() }),
    ...(chance(0.2) && { createdBefore: time() }),
    ...(chance(0.2) && {
      workflowIds: Array.from({ length: 1 + below(20) }, () => `${one(engines)}:${one(prefixes)}${below(3)}`),
    }),
  };
}

/** What an engine makes of a query, by the words of its contract. */
function answers(query: WorkflowQuery, row: EngineWorkflow): boolean {
  if (query.statuses && !query.statuses.some((status) => status === row.status)) return false;
  if (query.types && !query.types.some((type) => type === row.type)) return false;
  if (query.ids && !query.ids.some((id) => id === row.id)) return false;
  if (query.idPrefix !== undefined && row.id.slice(0, query.idPrefix.length) !== query.idPrefix) return false;
  if (query.namePrefix !== undefined && row.name.indexOf(query.namePrefix) !== 0) return false;
  if (query.createdAfter && row.createTime.getTime() < query.createdAfter.getTime()) return false;
  if (query.createdBefore && row.createTime.getTime() >= query.createdBefore.getTime()) return false;
  const labels = new Map(Object.entries(row.labels));
  return Object.entries(query.labels ?? {}).every(([key, value]) => labels.get(key) === value);
}

/** What a selector means, by the words of the proto. */
function means(init: MessageInitShape<typeof SelectorSchema>, engine: string, row: EngineWorkflow): boolean {
  const selector = create(SelectorSchema, init);
  const open = { pending: Status.PENDING, running: Status.RUNNING, paused: Status.PAUSED } as Record<string, Status>;
  const status = open[row.status];
  if (status === undefined) return false;
  const empty = (list: readonly unknown[]) => list.length === 0;
  const labels = new Set(Object.entries(row.labels).map(([key, value]) => `${key}=${value}`));
  const created = BigInt(row.createTime.getTime());
  const ms = (time: { seconds: bigint; nanos: number }) => time.seconds * 1000n + BigInt(time.nanos / 1_000_000);
  return (
    (empty(selector.engines) || selector.engines.indexOf(engine) >= 0) &&
    (empty(selector.types) || selector.types.indexOf(row.type) >= 0) &&
    (empty(selector.statuses) || selector.statuses.indexOf(status) >= 0) &&
    (empty(selector.workflowIds) || selector.workflowIds.indexOf(`${engine}:${row.id}`) >= 0) &&
    selector.labels.every((label) => labels.has(label)) &&
    `${engine}:${row.id}`.indexOf(selector.idPrefix) === 0 &&
    row.name.indexOf(selector.namePrefix) === 0 &&
    (!selector.createdAfter || created >= ms(selector.createdAfter)) &&
    (!selector.createdBefore || created < ms(selector.createdBefore))
  );
}

test("matches agrees with the contract's words, with the pushed-down query, and with the gate's rule", () => {
  const random = generator(20_260_301);
  const seen = { selectors: 0, refused: 0, matched: 0, unmatched: 0, decided: 0 };
  while (seen.selectors < 1000) {
    const init = anySelector(random);
    const rows = Array.from({ length: 20 }, () => [random.one(engines), anyWorkflow(random)] as const);
    let selector: ReturnType<typeof compileSelector>;
    try {
      selector = compileSelector(create(SelectorSchema, init), engines);
    } catch (error) {
      // Only what can match nothing, or says nothing, is refused.
      if (!(error instanceof MissionControlError)) throw error;
      if (error.reason !== "SELECTOR_EMPTY") expect(rows.some(([engine, row]) => means(init, engine, row))).toBe(false);
      seen.refused++;
      continue;
    }
    seen.selectors++;
    const able = selector.engines(engines);
    for (const [engine, row] of rows) {
      const told = JSON.stringify([init, engine, row], (_key, value) =>
        typeof value === "bigint" ? `${value}` : value,
      );
      const matched = selector.matches(engine, row);
      expect(matched, told).toBe(means(init, engine, row));
      const query = selector.listQuery(engine);
      expect(able.includes(engine), told).toBe(query !== undefined);
      expect(query !== undefined && answers(query, row), told).toBe(matched);
      const rule = selector.gateRule(engine);
      const isOpen = ["pending", "running", "paused"].includes(row.status);
      if (rule?.matchNew && isOpen) {
        const byRule =
          (rule.types.length === 0 || rule.types.includes(row.type)) && row.name.startsWith(rule.namePrefix);
        expect(byRule, told).toBe(matched);
        seen.decided++;
      }
      if (rule?.workflowIds.includes(row.id) && isOpen) expect(matched, told).toBe(true);
      seen[matched ? "matched" : "unmatched"]++;
    }
    expect(selector.describe().length).toBeLessThanOrEqual(200);
  }
  expect(seen.matched).toBeGreaterThan(1000);
  expect(seen.unmatched).toBeGreaterThan(1000);
  expect(seen.decided).toBeGreaterThan(500);
  expect(seen.refused).toBeGreaterThan(50);
});

test("an expression that says the same as a typed field matches the same", () => {
  const random = generator(7);
  const pairs = [
    [{ types: ["Refund"] }, 'workflow.type == "Refund"'],
    [{ engines: ["lab"] }, 'workflow.engine == "lab"'],
    [{ statuses: [Status.PAUSED] }, 'workflow.status == "PAUSED"'],
    [{ labels: ["__proto__=a=b"] }, 'has(workflow.labels.__proto__) && workflow.labels["__proto__"] == "a=b"'],
    [{ idPrefix: "lab:a" }, 'workflow.id.startsWith("lab:a")'],
    [{ namePrefix: "😀" }, 'workflow.name.matches("^😀")'],
    [
      { createdAfter: timestampFromMs(1_700_000_000_010) },
      'workflow.create_time >= timestamp("2023-11-14T22:13:20.010Z")',
    ],
  ] as const;
  for (const [fields, expression] of pairs) {
    const typed = compileSelector(create(SelectorSchema, fields as never), engines);
    const told = compileSelector(create(SelectorSchema, { expression }), engines);
    const matched = { yes: 0, no: 0 };
    for (let n = 0; n < 500; n++) {
      const [engine, row] = [random.one(engines), anyWorkflow(random)];
      const verdict = typed.matches(engine, row);
      expect(told.matches(engine, row), `${expression} ${JSON.stringify(row)}`).toBe(verdict);
      matched[verdict ? "yes" : "no"]++;
    }
    expect(told.errors.count).toBe(0);
    expect(Math.min(matched.yes, matched.no)).toBeGreaterThan(0);
  }
});
