import { create } from "@bufbuild/protobuf";
import { RuleSchema } from "../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Orders } from "../src/gate/orders.ts";
import { Reports } from "../src/gate/reports.ts";
import { type GatedWorkflow, Rules } from "../src/gate/rules.ts";
import { Runs } from "../src/gate/runs.ts";
import { type Figure, median } from "./bench.ts";

/** Brakes that a set has, none of which holds what is asked about. */
const brakes = [0, 1, 100] as const;
const rounds = { warm: 20_000, decisions: 200_000, steps: 20_000 } as const;

const labels = { team: "payments", risk: "low" };
const workflows = Array.from({ length: 1_000 }, (_, n): GatedWorkflow => {
  return { id: `inv_${n}`, type: "RefundAgent", handler: "pay", name: "RefundAgent/pay", labels };
});

/**
 * What a gate's yes costs in its process, ns. The brakes are by label: each of them has to be looked at, where an id or a type would be
 * looked up.
 */
export async function decisionFigures(repeat: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const count of brakes) {
    const orders = ordersWith(count);
    const decide = (workflow: GatedWorkflow) => orders.reasonToHold(workflow);
    figures.push({
      name: `decision: ${count} brakes that do not match`,
      value: median(Array.from({ length: repeat }, () => each(rounds.decisions, decide))),
      unit: "ns",
    });
  }
  const orders = ordersWith(100);
  const remembered = new Map(workflows.map((workflow) => [workflow, orders.of(workflow)]));
  const again = (workflow: GatedWorkflow) => remembered.get(workflow)?.();
  const steps: number[] = [];
  for (let round = 0; round < repeat; round++) steps.push(await step(orders));
  return [
    ...figures,
    {
      name: "decision: 100 brakes, asked again",
      value: median(Array.from({ length: repeat }, () => each(rounds.decisions, again))),
      unit: "ns",
    },
    { name: "a whole step and its two reports: 100 brakes", value: median(steps), unit: "ns" },
  ];
}

function ordersWith(count: number): Orders {
  const orders = new Orders({ whenDisconnected: "go on", staleLimitMs: 1_000, holdLimitMs: 1_000 });
  const rules = Array.from({ length: count }, (_, n) =>
    create(RuleSchema, { brakeId: `br_${n}`, matchNew: true, labels: { team: `other-${n}` } }),
  );
  orders.apply(new Rules(1n, rules));
  return orders;
}

function each(count: number, decide: (workflow: GatedWorkflow) => string | undefined): number {
  let held = 0;
  const ask = (times: number) => {
    for (let n = 0; n < times; n++) if (decide(workflows[n % workflows.length] as GatedWorkflow) !== undefined) held++;
  };
  ask(rounds.warm);
  const began = process.hrtime.bigint();
  ask(count);
  const ns = Number(process.hrtime.bigint() - began) / count;
  if (held > 0) throw new Error("a brake holds what it does not match");
  return ns;
}

/** One after the other, in one workflow; what is reported is acknowledged, as it is by a server. */
async function step(orders: Orders): Promise<number> {
  const reports = new Reports(100_000);
  const runs = new Runs(orders, reports, () => {});
  const run = runs.start({ type: "RefundAgent", labels });
  let done = 0;
  const take = async (times: number) => {
    for (let n = 0; n < times; n++) await run.step("pay", () => void done++);
    reports.acknowledge(Number.MAX_SAFE_INTEGER);
  };
  await take(rounds.warm);
  const began = process.hrtime.bigint();
  await take(rounds.steps);
  const ns = Number(process.hrtime.bigint() - began) / rounds.steps;
  if (done !== rounds.warm + rounds.steps) throw new Error("a step that no brake holds did not run");
  return ns;
}
