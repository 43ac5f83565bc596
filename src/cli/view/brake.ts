import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Approval,
  type Brake,
  Brake_StateSchema,
  type NotLetGo,
  type Release,
  type Selector,
  Brake_State as State,
  type StillHeld,
} from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { formatDuration } from "../duration.ts";
import type { Style, Terminal } from "../terminal.ts";
import { enumName } from "./enum.ts";
import { fleetReceiptFields } from "./fleet-receipt.ts";
import { type Column, renderFields, renderTable } from "./table.ts";
import { printable } from "./text.ts";
import { age, clock, dateTime } from "./time.ts";
import { statusName } from "./workflow.ts";

const styles: Readonly<Record<State, Style | undefined>> = {
  [State.STATE_UNSPECIFIED]: undefined,
  [State.AWAITING_APPROVAL]: ["bold", "yellow"],
  [State.ENGAGED]: ["bold", "magenta"],
  [State.RELEASED]: "green",
  [State.EXPIRED]: "gray",
};

export function stateName(state: State): string {
  return enumName(Brake_StateSchema, state);
}

/** "312 workflows", "1 workflow" */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** What a selector matches, in words: 'type RefundAgent, label risk=high'. */
export function describeSelector(selector: Selector | undefined): string {
  if (selector === undefined) return "";
  const any = (noun: string, values: readonly string[]) =>
    values.length === 0 ? [] : [`${noun} ${values.join(" or ")}`];
  const { workflowIds, createdAfter, createdBefore } = selector;
  const words = [
    ...(selector.everything ? ["everything"] : []),
    ...any("engine", selector.engines),
    ...any("type", selector.types),
    ...any("status", selector.statuses.map(statusName)),
    ...selector.labels.map((label) => `label ${label}`),
    ...(selector.idPrefix ? [`id from ${selector.idPrefix}…`] : []),
    ...(selector.namePrefix ? [`name from ${selector.namePrefix}…`] : []),
    ...(createdAfter ? [`created since ${dateTime(createdAfter)}`] : []),
    ...(createdBefore ? [`created before ${dateTime(createdBefore)}`] : []),
    ...(workflowIds.length > 3 ? [`${workflowIds.length} workflows by id`] : any("workflow", workflowIds)),
    ...(selector.expression ? [`where ${selector.expression}`] : []),
  ];
  return words.join(", ");
}

/** The columns of `brake list`. */
export const brakeColumns: readonly Column<Brake>[] = [
  { header: "BRAKE", value: (brake) => brake.brakeId },
  { header: "STATE", value: (brake) => stateName(brake.state), style: (brake) => styles[brake.state] },
  { header: "AGE", value: (brake) => age(brake.createTime) },
  { header: "STANDING", value: standing },
  { header: "BY", value: (brake) => brake.engagedBy, minWidth: 8 },
  { header: "WHY", value: why, minWidth: 16 },
  { header: "HOLDS", value: (brake) => describeSelector(brake.selector), minWidth: 16, optional: true },
];

function standing({ state, receipt, approval }: Brake): string {
  if (state === State.AWAITING_APPROVAL) return `0/${approval?.matched ?? 0}`;
  return receipt ? `${receipt.standing}/${receipt.matched}` : "-";
}

function why({ emergency, release, reason }: Brake): string {
  if (release?.haltedBecause) return `HELD AGAIN: ${release.haltedBecause}`;
  return `${emergency ? "EMERGENCY " : ""}"${reason}"`;
}

/** A brake with its receipt in words. */
export function renderBrake(brake: Brake, terminal: Terminal): string {
  const { state, createTime, engageTime, expireTime, approval, release, receipt } = brake;
  const head = `${terminal.paint(stateName(state), styles[state])}  ${terminal.paint(printable(brake.brakeId), "bold")}\n`;
  const fields = renderFields([
    ["holds", `${describeSelector(brake.selector)}${brake.includeDescendants ? ", and their descendants" : ""}`],
    ["reason", `"${brake.reason}"`],
    ["ticket", brake.ticket],
    [
      "by",
      `${brake.engagedBy}${brake.emergency ? " (EMERGENCY)" : ""}${createTime ? `, ${dateTime(createTime)} (${age(createTime)} ago)` : ""}`,
    ],
    [
      "engaged",
      engageTime ? dateTime(engageTime) : state === State.AWAITING_APPROVAL ? "not yet: it holds nothing" : "",
    ],
    ["expires", expireTime && `releases by itself at ${dateTime(expireTime)}`],
    ["approval", approval && describeApproval(approval, state)],
    ["release", release && describeRelease(release)],
    ["ledger", brake.auditEntryId],
  ]);
  // While it waits for approval there is nothing to say about a standstill.
  const shown = receipt !== undefined && state !== State.AWAITING_APPROVAL ? fleetReceiptFields(receipt) : [];
  const halt = shown.length > 0 ? `\n${terminal.paint("Halt receipt", "bold")}\n${renderFields(shown)}` : "";
  return head + fields + halt;
}

function describeApproval(approval: Approval, state: State): string {
  const { matched, tolerance, approvedBy, approveTime, approveBy } = approval;
  const bound = `asked for ${count(matched, "workflow")}, of which ${tolerance} may have come or gone`;
  if (approvedBy !== "") return `by ${approvedBy}${approveTime ? `, ${dateTime(approveTime)}` : ""}; ${bound}`;
  if (state === State.AWAITING_APPROVAL) return `awaited from a second person; ${bound}`;
  if (state === State.ENGAGED && approveBy) {
    return `NEEDED AFTERWARDS from a second person by ${dateTime(approveBy)}, or it is released; ${bound}`;
  }
  return `nobody approved it; ${bound}`;
}

function describeRelease(release: Release): string {
  const { releasedBy, reason, releaseTime, staged, released, remaining, haltedBecause } = release;
  const when = releaseTime ? `, ${dateTime(releaseTime)}` : "";
  const stages =
    staged &&
    `in stages of ${staged.percent}%${staged.watch ? `, each watched for ${formatDuration(durationMs(staged.watch))}` : ""}, ` +
      `at most ${count(staged.maxFailures, "failure")}`;
  return [
    `${releasedBy ? `by ${releasedBy}` : "by itself"}${when}${reason ? `: "${reason}"` : ""}`,
    `${released} released, ${remaining} remaining${stages ? `; ${stages}` : ""}`,
    ...(haltedBecause ? [`HELD AGAIN by itself: ${haltedBecause}`] : []),
  ].join("\n");
}

/** As many as a release names. */
const maxStillHeld = 100;

/** The workflows that go on being held after a release, with the brakes that hold them. */
export function renderStillHeld(stillHeld: readonly StillHeld[], terminal: Terminal): string {
  if (stillHeld.length === 0) return "";
  const head = stillHeld.length < maxStillHeld ? String(stillHeld.length) : `the first ${maxStillHeld}`;
  const columns: readonly Column<StillHeld>[] = [
    { header: "WORKFLOW", value: (held) => held.workflowId },
    { header: "HELD BY", value: (held) => held.brakeIds.join(", "), minWidth: 16 },
  ];
  return `\n${terminal.paint(`Still held by other brakes: ${head}`, "bold")}\n${renderTable(columns, stillHeld, terminal)}`;
}

/** What a release could not let go of yet, because its engine does not answer. */
export function renderNotLetGo(notLetGo: readonly NotLetGo[], terminal: Terminal): string {
  return notLetGo
    .map(({ outage, count: all, workflowIds }) => {
      const { engine = "", since } = outage ?? {};
      const away = `${printable(engine)} does not answer${since ? ` since ${clock(since)}` : ""}`;
      const head = `Not let go yet: ${count(all, "workflow")}. ${away}; as soon as it does, they go on.`;
      const more = all > workflowIds.length ? ["…"] : [];
      return `\n${terminal.paint(head, "bold")}\n${[...workflowIds, ...more].map((id) => `  ${printable(id)}\n`).join("")}`;
    })
    .join("");
}
