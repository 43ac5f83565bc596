import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type Event, EventSchema, ReportSchema } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Reports } from "../../src/gate/reports.ts";

const event = (one: Event["event"]) => create(EventSchema, { workflowId: "w", event: one });
const started = () => event({ case: "workflowStarted", value: { type: "T" } as never });
const step = (errorMessage = "") => event({ case: "stepEnded", value: { stepId: "s", errorMessage } as never });

/** Of all that wait, read as a connection reads them. */
function numbers(reports: Reports): number[] {
  const found: number[] = [];
  for (;;) {
    const batch = reports.after(found.at(-1) ?? 0);
    if (batch === undefined) return found;
    found.push(...batch.events.map((_, i) => batch.firstSequence + i));
  }
}
const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

test("what is acknowledged is gone, and the rest is read again", () => {
  const reports = new Reports(100);
  for (let i = 0; i < 5; i++) reports.add(step());
  expect([numbers(reports), numbers(reports)]).toEqual([upTo(5), upTo(5)]);
  reports.acknowledge(3);
  expect([numbers(reports), reports.size]).toEqual([[4, 5], 2]);
});

test("a report is of a bounded size", () => {
  const reports = new Reports(10_000);
  for (let i = 0; i < 1_200; i++) reports.add(step());
  expect(reports.after(0)?.events.length).toBe(500);
  for (let i = 0; i < 1_200; i++) reports.add(step("x".repeat(1_024)));
  const { events = [] } = reports.after(1_200) ?? {};
  expect(toBinary(ReportSchema, create(ReportSchema, { events })).length).toBeLessThan(300 * 1_024);
  expect(numbers(reports)).toEqual(upTo(2_400));
});

test("beyond the bound the oldest steps are dropped and counted, and no beginning of a workflow", () => {
  const reports = new Reports(4);
  for (const one of [started(), step(), started(), ...Array.from({ length: 6 }, () => step())]) reports.add(one);
  expect([numbers(reports), reports.lost]).toEqual([[1, 3, 8, 9], 5]);
  // One report never has a hole.
  expect(reports.after(0)?.events.length).toBe(1);
});

test("beyond the bound with nothing but workflows the oldest go", () => {
  const reports = new Reports(3);
  for (let i = 0; i < 5; i++) reports.add(started());
  expect([numbers(reports), reports.lost]).toEqual([[3, 4, 5], 2]);
});
