import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { GetWorkflowTraceResponse } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { TraceEntry_Kind as Kind, type TraceEntry } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Style, Terminal } from "../terminal.ts";
import { cut, displayWidth, padEnd, padStart, printable } from "../view/text.ts";
import { renderAxis } from "./axis.ts";
import { asciiGlyphs, type Glyphs, unicodeGlyphs } from "./glyphs.ts";
import { beginsStandstill, endsHold, isWork, type Row, spanOf, toRow } from "./row.ts";
import { createScale, gapColumns, type Scale, type Span } from "./scale.ts";

/** Width of a chart that goes to a file or a pipe. */
const pipedWidth = 80;
const maxWidth = 160;
const gap = "  ";

/**
 * Draws a timeline, one line per entry: name, bar over the workflow's life, duration, outcome; below it what else there is to
 * say. Stretches in which it stood paused are shaded, long ones without work are shortened. `now` in ms since the epoch.
 */
export function renderChart(trace: GetWorkflowTraceResponse, terminal: Terminal, now: number): string {
  const entries = allEntries(trace);
  if (entries.length === 0) return "Nothing is recorded yet.\n";
  const glyphs = terminal.unicode ? unicodeGlyphs : asciiGlyphs;
  const { begin, end } = lifeOf(trace, entries, now);
  const rows = entries.map((entry) => toRow(entry, begin, end));
  const paused = pausedSpans(entries, begin, end);

  const width = Math.min(terminal.columns ?? pipedWidth, maxWidth);
  const labelWidth = Math.min(
    Math.max(...rows.map(({ label }) => displayWidth(printable(label))), 4),
    Math.floor(width * 0.3),
  );
  const timeWidth = Math.max(4, ...rows.map(({ time }) => time.length));
  const outcomeWidth = Math.max(7, ...rows.map(({ outcome }) => outcome.length));
  const columns = Math.max(12, width - labelWidth - timeWidth - outcomeWidth - 3 * gap.length);
  const scale = createScale(
    [begin, end, ...rows.flatMap(({ span }) => [span.from, span.to])],
    entries.filter(isWork).map((entry) => spanOf(entry, begin, end)),
    columns,
  );

  const header = [
    terminal.paint(padEnd("NAME", labelWidth), "bold"),
    renderAxis(scale, begin, end, glyphs),
    terminal.paint(padStart("TIME", timeWidth), "bold"),
    terminal.paint("OUTCOME", "bold"),
  ].join(gap);
  const lines = rows.flatMap((row) => {
    const label = padEnd(cut(printable(row.label), labelWidth, glyphs.ellipsis), labelWidth);
    const line = [
      terminal.paint(label, row.inFlight || row.style?.includes("magenta") ? row.style : undefined),
      drawBar(row, paused, scale, glyphs, terminal),
      padStart(row.time, timeWidth),
      terminal.paint(row.outcome, row.style),
    ];
    const below = row.below.map((text) => {
      const shown = cut(`  ${glyphs.below} ${printable(text)}`, width, glyphs.ellipsis);
      return terminal.paint(shown, row.style === "red" ? "red" : "dim");
    });
    return [line.join(gap).trimEnd(), ...below];
  });
  return `${[header, ...lines, "", ...legend(rows, paused, scale, glyphs, width)].join("\n")}\n`;
}

/** The entries, and what is in flight on another page. */
function allEntries(trace: GetWorkflowTraceResponse): TraceEntry[] {
  const known = new Set(trace.entries.map(({ index }) => index));
  return [...trace.entries, ...trace.inFlight.filter(({ index }) => !known.has(index))];
}

/** From the first thing recorded to the end, or to now while the workflow is open. */
function lifeOf(
  trace: GetWorkflowTraceResponse,
  entries: readonly TraceEntry[],
  now: number,
): { begin: number; end: number } {
  const times = entries.flatMap(({ startTime, endTime }) =>
    [startTime, endTime].flatMap((time) => (time ? [timestampMs(time)] : [])),
  );
  const { workflow } = trace;
  if (workflow?.createTime) times.push(timestampMs(workflow.createTime));
  times.push(workflow?.endTime ? timestampMs(workflow.endTime) : now);
  const begin = times.reduce((a, b) => Math.min(a, b));
  const end = times.reduce((a, b) => Math.max(a, b));
  return { begin, end: Math.max(end, begin + 1) };
}

/**
 * Where it stood paused: from each standstill until no brake is engaged any more, or to the end. Nobody tells when a pause
 * made in the engine's own tool ended: the next step shows that.
 */
function pausedSpans(entries: readonly TraceEntry[], begin: number, end: number): Span[] {
  const spans: Span[] = [];
  const engaged = new Set<string>();
  let from: number | undefined;
  for (const entry of entries) {
    const at = spanOf(entry, begin, end).from;
    if (entry.kind === Kind.CONTROL && entry.brakeId !== "") {
      if (endsHold(entry)) engaged.delete(entry.brakeId);
      else engaged.add(entry.brakeId);
    }
    if (beginsStandstill(entry)) from ??= at;
    else if (from !== undefined && engaged.size === 0 && (endsHold(entry) || isWork(entry))) {
      spans.push({ from, to: at });
      from = undefined;
    }
  }
  return from === undefined ? spans : [...spans, { from, to: end }];
}

/** The columns that a span touches. */
function columnsOf(span: Span, scale: Scale): { first: number; last: number } {
  const first = scale.column(span.from);
  // What ends where another begins does not reach into its column.
  return { first, last: Math.max(first, scale.column(span.to - 1e-3)) };
}

function drawBar(row: Row, paused: readonly Span[], scale: Scale, glyphs: Glyphs, terminal: Terminal): string {
  const cells: { char: string; style: Style | undefined }[] = Array.from({ length: scale.columns }, () => ({
    char: " ",
    style: undefined,
  }));
  const fill = (span: Span, style: Style | undefined, charAt: (column: number, last: number) => string): void => {
    const { first, last } = columnsOf(span, scale);
    for (let column = first; column <= last; column++) cells[column] = { char: charAt(column, last), style };
  };
  for (const span of paused) fill(span, "dim", () => glyphs.paused);
  const { from, to } = row.span;
  const passed = scale.gaps.filter((gap) => from <= gap.from && to >= gap.to);
  const shortened = (column: number) =>
    passed.some(({ firstColumn }) => column >= firstColumn && column < firstColumn + gapColumns);
  fill(row.span, row.style, (column, last) => {
    if (row.inFlight && column === last) return glyphs.inFlight;
    return shortened(column) ? glyphs.throughGap : glyphs[row.glyph];
  });
  return runs(cells)
    .map(({ text, style }) => terminal.paint(text, style))
    .join("");
}

/** Neighbouring cells of one style, together. */
function runs(
  cells: readonly { char: string; style: Style | undefined }[],
): { text: string; style: Style | undefined }[] {
  const result: { text: string; style: Style | undefined }[] = [];
  for (const { char, style } of cells) {
    const last = result.at(-1);
    if (last !== undefined && last.style === style) last.text += char;
    else result.push({ text: char, style });
  }
  return result;
}

/** Explains the signs that occur. */
function legend(rows: readonly Row[], paused: readonly Span[], scale: Scale, glyphs: Glyphs, width: number): string[] {
  const used = new Set(rows.map(({ glyph }) => glyph));
  const signs: [boolean, string][] = [
    [used.has("step"), `${glyphs.step} step`],
    [used.has("wait"), `${glyphs.wait} wait`],
    [rows.some(({ inFlight }) => inFlight), `${glyphs.inFlight} in flight now`],
    [used.has("failedAttempt"), `${glyphs.failedAttempt} failed attempt`],
    [used.has("pause"), `${glyphs.pause} pause`],
    [used.has("standstill"), `${glyphs.standstill} standstill seen`],
    [paused.length > 0, `${glyphs.paused} paused`],
    [used.has("resume"), `${glyphs.resume} resume`],
    [scale.gaps.length > 0, `${glyphs.break}29m${glyphs.break} idle time, drawn short`],
  ];
  const lines: string[] = [];
  for (const [, text] of signs.filter(([occurs]) => occurs)) {
    const last = lines.at(-1);
    if (last !== undefined && displayWidth(`${last}   ${text}`) <= width) lines[lines.length - 1] = `${last}   ${text}`;
    else lines.push(text);
  }
  return lines;
}
