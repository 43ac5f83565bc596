import type { Style, Terminal } from "../terminal.ts";
import { cut, displayWidth } from "./text.ts";

const minBar = 14;
const maxBar = 40;

/** How far something has come. */
export interface BarValue {
  readonly done: number;
  readonly of: number;
  readonly style: Style;
  /** What stands beside the bar, the most important first: the least important goes where there is no room. */
  readonly texts: readonly string[];
}

/** A bar with its texts, in at most `columns` columns. */
export function renderBar(terminal: Terminal, { done, of, style, texts }: BarValue, columns: number): string {
  const shown = [...texts];
  while (shown.length > 1 && displayWidth(shown.join("  ")) + minBar > columns) shown.pop();
  const text = shown.join("  ");
  const width = Math.min(maxBar, columns - displayWidth(text) - 2);
  if (width < 4) return cut(text, columns, terminal.unicode ? "…" : "~");
  const full = of === 0 ? width : Math.floor((width * Math.min(done, of)) / of);
  const [block, space] = terminal.unicode ? ["█", "░"] : ["#", "."];
  return `${terminal.paint(block.repeat(full), style)}${terminal.paint(space.repeat(width - full), "gray")}  ${text}`;
}
