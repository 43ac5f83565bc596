import type { Style, Terminal } from "../terminal.ts";
import { cut, displayWidth, padEnd, printable } from "./text.ts";

/** A column of a table. */
export interface Column<Row> {
  readonly header: string;
  value(row: Row): string;
  style?(row: Row): Style | undefined;
  /** The column may be cut to this width where the screen is narrow; without it, never: what one pastes stays whole. */
  readonly minWidth?: number;
  /** Left out where the screen has no room even for its least width. */
  readonly optional?: boolean;
}

const gap = "  ";

/** A table as wide as the screen at the most, and uncut where there is no screen. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], terminal: Terminal): string {
  const filled = columns.map((column) => {
    const cells = rows.map((row) => printable(column.value(row)));
    const width = Math.max(displayWidth(column.header), ...cells.map(displayWidth));
    return { column, cells, width, empty: cells.every((cell) => cell === "") };
  });
  const shown = fitColumns(
    filled.filter(({ column, empty }) => !(column.optional && empty)),
    terminal.columns,
  );
  const ellipsis = terminal.unicode ? "…" : "~";
  const line = (cellOf: (index: number) => string, styleOf: (index: number) => Style | undefined) =>
    shown
      .map(({ width }, i) => {
        const text = cut(cellOf(i), width, ellipsis);
        const padding = i === shown.length - 1 ? "" : " ".repeat(width - displayWidth(text));
        return terminal.paint(text, styleOf(i)) + padding;
      })
      .join(gap)
      .trimEnd();
  const header = line(
    (i) => shown[i]?.column.header ?? "",
    () => "bold",
  );
  const body = rows.map((row, r) =>
    line(
      (i) => shown[i]?.cells[r] ?? "",
      (i) => shown[i]?.column.style?.(row),
    ),
  );
  return `${[header, ...body].join("\n")}\n`;
}

interface Sized {
  readonly column: { readonly minWidth?: number; readonly optional?: boolean; readonly header: string };
  readonly width: number;
}

/** Cuts from the last column to the first until the table fits, then leaves optional columns out. */
function fitColumns<C extends Sized>(columns: readonly C[], screen: number | undefined): C[] {
  const total = (list: readonly C[]) => list.reduce((sum, { width }) => sum + width + gap.length, -gap.length);
  let result = [...columns];
  if (screen === undefined) return result;
  for (let i = result.length - 1; i >= 0; i--) {
    const excess = total(result) - screen;
    const sized = result[i];
    if (excess <= 0 || sized?.column.minWidth === undefined) continue;
    const least = Math.min(sized.width, sized.column.minWidth);
    result[i] = { ...sized, width: Math.max(least, sized.width - excess) };
  }
  const dropped = result.findLast(({ column }) => column.optional);
  if (total(result) > screen && dropped !== undefined) {
    // The room that it took goes to the others.
    result = fitColumns(
      columns.filter(({ column }) => column !== dropped.column),
      screen,
    );
  }
  return result;
}

/** "label  value" lines; those without a value are left out. A value of several lines is indented. */
export function renderFields(fields: readonly (readonly [label: string, value: string | undefined])[]): string {
  const shown = fields.filter(([, value]) => value !== undefined && value !== "");
  const width = Math.max(0, ...shown.map(([label]) => label.length)) + gap.length;
  return shown
    .map(([label, value = ""]) => {
      const lines = printable(value, true).split("\n");
      return lines.map((text, i) => `${padEnd(i === 0 ? label : "", width)}${text}\n`).join("");
    })
    .join("");
}
