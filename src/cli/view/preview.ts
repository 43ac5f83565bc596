import type { DeadlineAtRisk, EnginePlan, PreviewBrakeResponse } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Terminal } from "../terminal.ts";
import { count } from "./brake.ts";
import { type Column, renderFields, renderTable } from "./table.ts";
import { dateTime } from "./time.ts";
import { workflowColumns } from "./workflow.ts";

/** What a brake would do: how many it would hold where and how, who has to approve, and what comes of it. */
export function renderPreview(preview: PreviewBrakeResponse, emergency: boolean, terminal: Terminal): string {
  const { engines, sample, deadlinesAtRisk } = preview;
  const section = <Row>(title: string, columns: readonly Column<Row>[], rows: readonly Row[]) =>
    rows.length === 0 ? "" : `\n${terminal.paint(title, "bold")}\n${renderTable(columns, rows, terminal)}`;
  return [
    `Would hold ${terminal.paint(count(preview.matched, "workflow"), "bold")} now, and what matches later.\n`,
    renderFields(consequences(preview, emergency)),
    section("By engine", engineColumns, engines),
    section(`Some of them, the newest ${sample.length}`, workflowColumns, sample),
    section(
      "Timers that run on: they fire while these are held, which then go on late",
      deadlineColumns,
      deadlinesAtRisk,
    ),
  ].join("");
}

/** What a brake would do, in a few lines: what one has to know before saying yes. */
export function renderQuestion(preview: PreviewBrakeResponse, emergency: boolean, terminal: Terminal): string {
  const now = `${terminal.paint(count(preview.matched, "workflow"), "bold")} now`;
  const what =
    preview.needsApproval && !emergency
      ? `This would hold ${now}, and nothing before a second person has approved it.`
      : `This holds ${now}, and what matches later, until it is released.`;
  return `${what}\n${renderFields([
    ...preview.engines.map((engine) => ["engine", describeEngine(engine)] as const),
    ...consequences(preview, emergency),
  ])}`;
}

function consequences(preview: PreviewBrakeResponse, emergency: boolean): [label: string, value: string | undefined][] {
  const { mayRerun, needsApproval, blastRadius, policyDenial, deadlinesAtRisk } = preview;
  const limit = blastRadius === undefined ? "you have no limit" : `your limit: ${count(blastRadius, "workflow")}`;
  const approval = !needsApproval
    ? "none needed"
    : `NEEDED from a second person${emergency ? " AFTERWARDS: it is an emergency and holds at once" : ""}`;
  return [
    [
      "may re-run",
      mayRerun === 0 ? "no step is known to" : `${count(mayRerun, "workflow")} may RUN A STEP AGAIN on resume`,
    ],
    ["approval", `${approval} (${limit})`],
    ["policy", policyDenial === "" ? "permits it" : `WOULD DENY IT: ${policyDenial}`],
    ...preview.unreachableEngines.map(
      ({ engine }) =>
        ["NOT REACHED", `${engine} does not answer: what matches there is held as soon as it does`] as [string, string],
    ),
    ["deadlines", deadlinesAtRisk.length === 0 ? undefined : `${count(deadlinesAtRisk.length, "timer")} due soon`],
  ];
}

function describeEngine({ engine, running, pending, paused, ...plan }: EnginePlan): string {
  return `${engine}: ${running} running, ${pending} pending, ${paused} paused; ${haltedBy(plan)}`;
}

function haltedBy({ halt, gates }: Pick<EnginePlan, "halt" | "gates">): string {
  if (halt === "native") return gates === 0 ? "own pause" : `own pause, ${count(gates, "gate")}`;
  return halt === "gate" ? count(gates, "gate") : halt;
}

const stepInFlight: Readonly<Record<string, string>> = { finishes: "finishes, kept", reruns: "CUT OFF, RERUN" };

const engineColumns: readonly Column<EnginePlan>[] = [
  { header: "ENGINE", value: (plan) => plan.engine },
  { header: "MATCHED", value: (plan) => String(plan.matched) },
  { header: "RUNNING", value: (plan) => String(plan.running) },
  { header: "PENDING", value: (plan) => String(plan.pending) },
  { header: "PAUSED", value: (plan) => String(plan.paused) },
  { header: "HALTED BY", value: haltedBy, minWidth: 9 },
  { header: "STEP IN FLIGHT", value: (plan) => stepInFlight[plan.stepInFlight] ?? plan.stepInFlight, minWidth: 14 },
];

const deadlineColumns: readonly Column<DeadlineAtRisk>[] = [
  { header: "WORKFLOW", value: (deadline) => deadline.workflowId },
  { header: "DUE", value: (deadline) => (deadline.dueTime ? dateTime(deadline.dueTime) : "") },
  { header: "WHAT", value: (deadline) => deadline.what, minWidth: 12, optional: true },
];
