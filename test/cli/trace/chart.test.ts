import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { GetWorkflowTraceResponseSchema } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import {
  TraceEntry_Kind as Kind,
  TraceEntry_Outcome as Outcome,
  Workflow_Status as Status,
  type TraceEntrySchema,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { createTerminal, type Terminal } from "../../../src/cli/terminal.ts";
import { renderChart } from "../../../src/cli/trace/chart.ts";
import { displayWidth } from "../../../src/cli/view/text.ts";

const start = Date.UTC(2026, 10, 22, 8, 35, 12);
const at = (seconds: number) => timestampFromMs(start + seconds * 1000);

function terminal(env: Record<string, string>, columns?: number, color = false): Terminal {
  const stdout = { isTTY: columns !== undefined, columns } as NodeJS.WriteStream;
  return createTerminal({ stdout, stderr: stdout, env, color });
}
const utf8 = { LANG: "C.UTF-8" };

let index = 0;
function entry(
  kind: Kind,
  name: string,
  from: number,
  to: number | undefined,
  outcome: Outcome,
  more: MessageInitShape<typeof TraceEntrySchema> = {},
): MessageInitShape<typeof TraceEntrySchema> {
  const ends = to === undefined ? {} : { endTime: at(to) };
  return { index: index++, kind, name, startTime: at(from), ...ends, outcome, ...more } as typeof more;
}
const control = (name: string, from: number, actor: string, reason: string) =>
  entry(Kind.CONTROL, name, from, undefined, Outcome.OUTCOME_UNSPECIFIED, { actor, reason, brakeId: "br_1" });

function draw(entries: MessageInitShape<typeof TraceEntrySchema>[], now: number, screen = terminal(utf8)): string {
  const workflow = { workflowId: "restate:inv_1", status: Status.RUNNING, createTime: at(0) };
  return renderChart(create(GetWorkflowTraceResponseSchema, { workflow, entries }), screen, start + now * 1000);
}

const story = [
  entry(Kind.STARTED, "", 0, undefined, Outcome.OUTCOME_UNSPECIFIED),
  entry(Kind.STEP, "read-csv", 0, 4, Outcome.SUCCEEDED, { inputs: '{"file":"a.csv"}', agent: "support" }),
  entry(Kind.STEP, "refund-1", 4, 8, Outcome.SUCCEEDED, { agent: "payer", riskLevel: "HIGH" }),
  control("pause", 6, "alice", "pays twice"),
  control("standstill", 8, "", ""),
  control("resume", 3608, "bob", "fixed"),
  entry(Kind.STEP, "refund-2", 3608, 3612, Outcome.FAILED, { errorMessage: "card\ndeclined" }),
  entry(Kind.CALL, "Notifier/send", 3612, 3614, Outcome.SUCCEEDED, { childWorkflowId: "restate:inv_2" }),
  entry(Kind.STEP, "refund-3", 3614, undefined, Outcome.IN_FLIGHT),
];

test("a timeline: bars to scale, what people did in the same line of time, the pause shaded and drawn short", () => {
  expect(draw(story, 3616).split("\n")).toEqual([
    "NAME                0s───────────────╱─60m╱─────────────1h00m    TIME  OUTCOME",
    "started             │                ░░░░░░░                     +0ms",
    "read-csv            █████████        ░░░░░░░                       4s  ok",
    "  └ by support",
    '  └ given {"file":"a.csv"}',
    "refund-1                    ██████████░░░░░░                       4s  ok",
    "  └ by payer, risk HIGH",
    "pause by alice                   ▼   ░░░░░░░                      +6s",
    '  └ "pays twice"',
    "standstill                           ■░░░░░░                      +8s",
    "resume by bob                        ░░░░░░▲                   +1h00m",
    '  └ "fixed"',
    "refund-2                             ░░░░░░██████████              4s  FAILED",
    "  └ card declined",
    "call Notifier/send                   ░░░░░░░        ━━━━━          2s  ok",
    "  └ restate:inv_2",
    "refund-3                             ░░░░░░░            ████▶      2s  in flight",
    "",
    "█ step   ━ wait   ▶ in flight now   ▼ pause   ■ standstill seen   ░ paused",
    "▲ resume   ╱29m╱ idle time, drawn short",
    "",
  ]);
});

test("without UTF-8 it is drawn in ASCII", () => {
  const drawn = draw(story, 3616, terminal({ LANG: "C" }));
  expect(drawn).toMatch(/^[\x20-\x7e\n]+$/);
  expect(drawn).toContain("refund-3                             :::::::            ####>      2s  in flight");
});

test.each([60, 80, 100, 160, 300])("on %i columns no line is wider, and 160 are enough", (columns) => {
  for (const line of draw(story, 3616, terminal(utf8, columns)).split("\n")) {
    expect(displayWidth(line)).toBeLessThanOrEqual(Math.min(columns, 160));
  }
});

test("without a pause nothing is shaded, and a short life has ticks", () => {
  const entries = [entry(Kind.STEP, "a", 0, 10, Outcome.SUCCEEDED), entry(Kind.STEP, "b", 10, 30, Outcome.SUCCEEDED)];
  const [axis, a, b] = draw(entries, 30).split("\n");
  expect(axis).toMatch(/^NAME {2}0s─+┬10s─+┬20s─+30s {2}TIME {2}OUTCOME$/);
  expect(a).toMatch(/^a {5}█{18,21} +10s {2}ok$/);
  expect(b).toMatch(/^b {22,26}█{34,40} +20s {2}ok$/);
});

test("what stands paused now is shaded to the end, although a second brake was released", () => {
  const brake = (name: string, from: number, brakeId: string) =>
    entry(Kind.CONTROL, name, from, undefined, Outcome.OUTCOME_UNSPECIFIED, { brakeId, actor: "a" });
  const drawn = draw(
    [
      entry(Kind.STEP, "step", 0, 10, Outcome.SUCCEEDED),
      brake("pause", 8, "br_1"),
      brake("pause", 9, "br_2"),
      brake("standstill", 10, "br_1"),
      brake("resume", 15, "br_2"),
    ],
    20,
  );
  expect(drawn.split("\n")[1]).toMatch(/^step +█+░+ +10s {2}ok$/);
  expect(drawn.split("\n")[1]?.match(/░/g)?.length).toBeGreaterThan(20);
});

test("a pause made in the engine's own tool is told as such, and ends with the next step", () => {
  const drawn = draw(
    [
      entry(Kind.STEP, "a", 0, 10, Outcome.SUCCEEDED),
      entry(Kind.CONTROL, "paused", 10, undefined, Outcome.OUTCOME_UNSPECIFIED),
      entry(Kind.STEP, "b", 20, 30, Outcome.SUCCEEDED),
    ],
    30,
  );
  const [, a, paused, b] = drawn.split("\n");
  expect(a).toMatch(/^a +█+░+ +10s {2}ok$/);
  expect(paused).toMatch(/^paused in the engine +■░+ +\+10s$/);
  expect(b).toMatch(/^b +░+█+ +10s {2}ok$/);
});

test("a sleeper says when it is due, and what is in flight on another page is drawn too", () => {
  const trace = create(GetWorkflowTraceResponseSchema, {
    entries: [entry(Kind.STEP, "a", 0, 1, Outcome.SUCCEEDED)],
    inFlight: [entry(Kind.SLEEP, "", 1, undefined, Outcome.IN_FLIGHT, { dueTime: at(61) })],
  });
  const lines = renderChart(trace, terminal(utf8), start + 3_000).split("\n");
  expect(lines[2]).toMatch(/^sleep +━+▶ +2s {2}sleeping$/);
  expect(lines[3]).toBe("  └ due 08:36:13Z, in 58s");
});

test("names from outside cannot drive the terminal, nor push the bars away", () => {
  const name = "\u001b[31mred\u0007 \u5ba2\u6237".repeat(10);
  const [, line] = draw([entry(Kind.STEP, name, 0, 10, Outcome.SUCCEEDED)], 10).split("\n");
  expect(line).not.toMatch(/\p{Cc}/u);
  expect(displayWidth(line ?? "")).toBeLessThanOrEqual(80);
});

test("colours only where they are wanted", () => {
  expect(draw(story, 3616, terminal(utf8, 80, true))).toContain("\u001b[");
  expect(draw(story, 3616, terminal({ ...utf8, NO_COLOR: "1" }, 80, true))).not.toContain("\u001b[");
  expect(draw(story, 3616, terminal(utf8, undefined, true))).not.toContain("\u001b[");
});

test("nothing recorded is said", () => {
  expect(draw([], 1)).toBe("Nothing is recorded yet.\n");
});
