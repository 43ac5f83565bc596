/** A stretch of time, in ms since the epoch. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** A stretch without work that is drawn shorter than it was. */
export interface Gap extends Span {
  readonly firstColumn: number;
}

/** Columns that a shortened stretch takes. */
export const gapColumns = 6;

/** A gap is only worth its break in the scale where it would fill this share of the chart … */
const worthShare = 0.25;
/** … and work would be left with less than this share of it. */
const workShare = 1 / 3;

/** Maps time to the columns of a chart: linear, but for long stretches in which nothing was done. */
export interface Scale {
  readonly columns: number;
  readonly gaps: readonly Gap[];
  /** Where the chart is linear. */
  readonly msPerColumn: number;
  /** The column (from 0, whole) of a moment. */
  column(time: number): number;
  /** The moment at a column's left edge. */
  timeAt(column: number): number;
}

/**
 * `moments` are all times at which something began or ended, the life's ends among them; `busy` are the spans of work. A
 * stretch between two neighbouring moments that no work covers is idle: nothing can be seen in it, so it may be shortened.
 */
export function createScale(moments: readonly number[], busy: readonly Span[], columns: number): Scale {
  const edges = [...new Set(moments)].sort((a, b) => a - b);
  const parts = edges.slice(1).map((to, i) => {
    const from = edges[i] ?? to;
    return { from, to, idle: !busy.some((span) => span.from < to && span.to > from), shortened: false };
  });
  const length = ({ from, to }: Span) => to - from;
  const rate = () => {
    const drawn = parts.filter(({ shortened }) => !shortened).reduce((sum, part) => sum + length(part), 0);
    const gaps = parts.filter(({ shortened }) => shortened).length;
    return { drawn, perColumn: drawn / (columns - gaps * gapColumns) };
  };
  const work = parts.filter(({ idle }) => !idle).reduce((sum, part) => sum + length(part), 0);
  // Half of the chart may go to gaps.
  for (let gaps = 0; (gaps + 1) * gapColumns <= columns / 2; gaps++) {
    const { drawn, perColumn } = rate();
    const longest = parts
      .filter(({ idle, shortened }) => idle && !shortened)
      .reduce<(typeof parts)[number] | undefined>((a, b) => (a && length(a) >= length(b) ? a : b), undefined);
    if (work / drawn >= workShare) break;
    // Something has to be left to draw.
    if (longest === undefined || length(longest) >= drawn) break;
    const wouldTake = length(longest) / perColumn;
    if (wouldTake < columns * worthShare || wouldTake < gapColumns * 1.5) break;
    longest.shortened = true;
  }
  const { perColumn } = rate();
  let at = 0;
  const drawn = parts.map((part) => {
    const width = part.shortened ? gapColumns : length(part) / perColumn;
    at += width;
    return { ...part, start: at - width, width };
  });
  return {
    columns,
    msPerColumn: perColumn,
    gaps: drawn
      .filter(({ shortened }) => shortened)
      .map(({ from, to, start }) => ({ from, to, firstColumn: Math.floor(start) })),
    column: (time) => {
      const part = drawn.find(({ to }) => time < to);
      if (part === undefined) return columns - 1;
      const share = Math.max(0, (time - part.from) / length(part));
      return Math.max(0, Math.min(columns - 1, Math.floor(part.start + share * part.width)));
    },
    timeAt: (column) => {
      const part = drawn.find(({ start, width }) => column < start + width) ?? drawn.at(-1);
      return part === undefined ? 0 : part.from + ((column - part.start) / part.width) * length(part);
    },
  };
}
