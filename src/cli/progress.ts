import type { Screen } from "./terminal.ts";

/** How progress is shown of what is known at a moment. */
export interface ProgressView<T> {
  /** One line of at most `columns` columns, drawn anew again and again; colours are welcome. */
  bar(value: T, columns: number): string;
  /** One line of a log. */
  line(value: T): string;
}

/** Progress on its way. */
export interface Progress<T> {
  show(value: T): void;
  /** Runs what writes other lines, which stay above the bar. */
  aside(write: () => void): void;
  /** Shows the last value, for good. */
  end(): void;
}

/** How often a bar is drawn, and a line written at the most, in ms. */
const barEveryMs = 100;
const lineEveryMs = 1_000;

/** Shows progress until `end`: as a bar on a live screen, as lines elsewhere, those only where something changed. */
export function startProgress<T>(screen: Screen, view: ProgressView<T>): Progress<T> {
  let value: { readonly now: T } | undefined;
  let drawn = false;
  let lastLine = "";
  let lastLineAt = Number.NEGATIVE_INFINITY;

  const clear = () => {
    if (drawn) screen.write("\r\u001b[K");
    drawn = false;
  };
  const draw = (last: boolean) => {
    if (value === undefined) return;
    const columns = screen.liveColumns;
    if (columns !== undefined) {
      // The last column stays free: some terminals wrap there.
      screen.write(`\r${view.bar(value.now, columns - 1)}\u001b[K`);
      drawn = true;
      return;
    }
    const line = view.line(value.now);
    if (line === lastLine || (!last && performance.now() - lastLineAt < lineEveryMs)) return;
    lastLine = line;
    lastLineAt = performance.now();
    screen.write(`${line}\n`);
  };
  const timer = setInterval(() => draw(false), screen.liveColumns === undefined ? lineEveryMs : barEveryMs);
  timer.unref();
  return {
    show: (next) => {
      const first = value === undefined;
      value = { now: next };
      if (first || screen.liveColumns === undefined) draw(false);
    },
    aside: (write) => {
      clear();
      write();
      if (screen.liveColumns !== undefined) draw(false);
    },
    end: () => {
      clearInterval(timer);
      draw(true);
      if (drawn) screen.write("\n");
      drawn = false;
      value = undefined;
    },
  };
}
