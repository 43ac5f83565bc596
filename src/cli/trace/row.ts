import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  TraceEntry_Kind as Kind,
  TraceEntry_Outcome as Outcome,
  type TraceEntry,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { formatDuration } from "../duration.ts";
import type { Style } from "../terminal.ts";
import { age, clock } from "../view/time.ts";
import type { Glyphs } from "./glyphs.ts";
import type { Span } from "./scale.ts";

/** One line of a chart, before it is laid out. */
export interface Row {
  readonly label: string;
  /** From where to where; a moment has no length. */
  readonly span: Span;
  readonly glyph: keyof Glyphs;
  readonly inFlight: boolean;
  readonly style: Style | undefined;
  /** How long it took, or for a moment, when it was after the beginning. */
  readonly time: string;
  readonly outcome: string;
  /** What else there is to say: an error, a reason, a child's id. */
  readonly below: readonly string[];
}

/** True where the agent's own code runs. */
export function isWork(entry: TraceEntry): boolean {
  return entry.kind === Kind.STEP || entry.kind === Kind.KIND_UNSPECIFIED;
}

/** A control action that ends a hold. */
export function endsHold(entry: TraceEntry): boolean {
  return entry.kind === Kind.CONTROL && /^(resume|release|expire|end)/.test(entry.name);
}

/** A pause that somebody made in the engine's own tool: no brake is behind it. */
export function isExternalPause(entry: TraceEntry): boolean {
  return entry.kind === Kind.CONTROL && entry.name.startsWith("pause") && entry.brakeId === "";
}

/** A control action after which the workflow stands. */
export function beginsStandstill(entry: TraceEntry): boolean {
  return entry.kind === Kind.CONTROL && (entry.name === "standstill" || isExternalPause(entry));
}

/** When an entry began and ended; what is in flight ends now. */
export function spanOf(entry: TraceEntry, begin: number, now: number): Span {
  const from = entry.startTime ? timestampMs(entry.startTime) : begin;
  const to = entry.endTime ? timestampMs(entry.endTime) : entry.outcome === Outcome.IN_FLIGHT ? now : from;
  return { from, to: Math.max(from, to) };
}

export function toRow(entry: TraceEntry, begin: number, now: number): Row {
  const span = spanOf(entry, begin, now);
  const inFlight = entry.outcome === Outcome.IN_FLIGHT;
  const moment = entry.endTime === undefined && !inFlight;
  return {
    label: labelOf(entry),
    span,
    glyph: glyphOf(entry, moment),
    inFlight,
    style: styleOf(entry),
    time: moment ? `+${formatDuration(span.from - begin)}` : formatDuration(span.to - span.from),
    outcome: outcomeOf(entry),
    below: belowOf(entry, now),
  };
}

const verbs: Partial<Record<Kind, string>> = {
  [Kind.SLEEP]: "sleep",
  [Kind.CALL]: "call",
  [Kind.SEND]: "send",
  [Kind.AWAIT]: "await",
  [Kind.STATE]: "state",
  [Kind.ATTEMPT_FAILED]: "attempt failed",
  [Kind.STARTED]: "started",
  [Kind.ENDED]: "ended",
};

function labelOf(entry: TraceEntry): string {
  const { kind, name, actor } = entry;
  if (isExternalPause(entry)) return "paused in the engine";
  if (kind === Kind.CONTROL) return actor === "" ? name : `${name} by ${actor}`;
  const verb = verbs[kind];
  if (verb === undefined) return name || "(step without a name)";
  const said = name === "" || name.toLowerCase().startsWith(verb);
  return said ? name || verb : kind === Kind.STARTED || kind === Kind.ENDED ? verb : `${verb} ${name}`;
}

function glyphOf(entry: TraceEntry, moment: boolean): keyof Glyphs {
  if (entry.kind === Kind.CONTROL) {
    if (endsHold(entry)) return "resume";
    if (beginsStandstill(entry)) return "standstill";
    return /paus|engag/.test(entry.name) ? "pause" : "control";
  }
  if (entry.kind === Kind.ATTEMPT_FAILED) return "failedAttempt";
  if (moment) return "moment";
  return isWork(entry) ? "step" : "wait";
}

function styleOf({ kind, outcome }: TraceEntry): Style | undefined {
  if (kind === Kind.CONTROL) return ["bold", "magenta"];
  if (kind === Kind.ATTEMPT_FAILED || outcome === Outcome.FAILED) return "red";
  if (outcome === Outcome.IN_FLIGHT) return ["bold", "yellow"];
  if (outcome === Outcome.CANCELED) return "gray";
  return kind === Kind.STEP ? "cyan" : undefined;
}

function outcomeOf({ kind, outcome }: TraceEntry): string {
  switch (outcome) {
    case Outcome.SUCCEEDED:
      return "ok";
    case Outcome.FAILED:
      return "FAILED";
    case Outcome.CANCELED:
      return "canceled";
    case Outcome.IN_FLIGHT:
      return kind === Kind.SLEEP ? "sleeping" : kind === Kind.AWAIT || kind === Kind.CALL ? "waiting" : "in flight";
    default:
      return kind === Kind.ATTEMPT_FAILED ? "FAILED" : "";
  }
}

function belowOf(entry: TraceEntry, now: number): string[] {
  const lines: string[] = [];
  const about = [entry.agent !== "" && `by ${entry.agent}`, entry.riskLevel !== "" && `risk ${entry.riskLevel}`];
  if (about.some(Boolean)) lines.push(about.filter(Boolean).join(", "));
  if (entry.inputs !== "") lines.push(`given ${entry.inputs}`);
  if (entry.reason !== "") lines.push(`"${entry.reason}"`);
  if (entry.errorMessage !== "") lines.push(entry.errorMessage);
  if (entry.childWorkflowId !== "") lines.push(entry.childWorkflowId);
  if (entry.outcome === Outcome.IN_FLIGHT && entry.dueTime)
    lines.push(`due ${clock(entry.dueTime)}${dueIn(entry.dueTime, now)}`);
  return lines;
}

function dueIn(due: Timestamp, now: number): string {
  const ms = timestampMs(due) - now;
  return ms > 0 ? `, in ${formatDuration(ms)}` : `, ${age(due, now)} ago`;
}
