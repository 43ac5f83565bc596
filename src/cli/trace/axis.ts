import { formatCoarseDuration, formatDuration, parseDuration } from "../duration.ts";
import { padEnd, padStart } from "../view/text.ts";
import type { Glyphs } from "./glyphs.ts";
import { gapColumns, type Scale } from "./scale.ts";

const niceSteps = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1_000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12, 24, 48, 168, 720].map((hours) => hours * 3_600_000),
];

/** Columns between two ticks, at the least. */
const tickRoom = 11;

/** The line of time over a chart: "0s───────┬10s──╱29m╱─────31m12s". Offsets count from `begin`. */
export function renderAxis(scale: Scale, begin: number, end: number, glyphs: Glyphs): string {
  const cells = Array.from({ length: scale.columns }, () => glyphs.axis);
  const taken = new Set<number>();
  const put = (column: number, text: string): void => {
    const chars = [...text];
    const columns = chars.map((_, i) => column + i);
    // A label keeps a column free on either side.
    const near = [column - 1, ...columns, column + chars.length];
    if (column < 0 || column + chars.length > scale.columns || near.some((at) => taken.has(at))) return;
    for (const [i, at] of columns.entries()) {
      cells[at] = chars[i] ?? "";
      taken.add(at);
    }
  };
  put(0, "0s");
  const life = formatDuration(end - begin);
  put(scale.columns - life.length, life);
  for (const { from, to, firstColumn } of scale.gaps) {
    const label = formatCoarseDuration(to - from);
    const inner = gapColumns - 2;
    const centred = padEnd(padStart(label, Math.ceil((inner + label.length) / 2)), inner).replaceAll(" ", glyphs.axis);
    for (const [i, char] of [...`${glyphs.break}${centred}${glyphs.break}`].entries()) {
      if (firstColumn + i >= scale.columns) break;
      cells[firstColumn + i] = char;
      taken.add(firstColumn + i);
    }
  }
  const step = niceSteps.find((ms) => ms / scale.msPerColumn >= tickRoom);
  for (let column = 1; step !== undefined && column < scale.columns; column++) {
    const offset = Math.ceil((scale.timeAt(column) - begin) / step) * step;
    const label = tickLabel(offset);
    // Late in a long life two units cannot tell neighbouring ticks apart.
    const exact = parseDuration(label) === offset;
    if (exact && offset < scale.timeAt(column + 1) - begin) put(column, `${glyphs.tick}${label}`);
  }
  return cells.join("");
}

/** "1m" rather than "1m00s". */
function tickLabel(ms: number): string {
  return formatDuration(ms).replace(/(?<=[hm])00[ms]$/, "");
}
