import { cpus, loadavg } from "node:os";
import { type BenchSize, type Figure, isMet } from "./bench.ts";

/** The figures of one bench. */
export interface Measured {
  readonly bench: string;
  readonly figures: readonly Figure[];
}

/** One line for each figure, and above them what they were measured on. */
export function toTable(size: BenchSize, measured: readonly Measured[]): string {
  const lines = measured.flatMap(({ bench, figures }) =>
    figures.map((figure) => [bench, figure.name, shownOf(figure), targetOf(figure)]),
  );
  const rows = [["bench", "figure", "median", "target"], ...lines];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const { date, processor, cores, load } = machine();
  const head = `${date}, ${cores} cores of ${processor}, load ${load}; ${size.workflows} workflows, ${size.repeat} times`;
  const table = rows.map(([bench = "", name = "", value = "", target = ""]) =>
    [bench.padEnd(widths[0] ?? 0), name.padEnd(widths[1] ?? 0), value.padStart(widths[2] ?? 0), target]
      .join("  ")
      .trimEnd(),
  );
  return `${[head, "", ...table].join("\n")}\n`;
}

export function toJson(size: BenchSize, measured: readonly Measured[]): string {
  const benches = measured.map(({ bench, figures }) => ({
    bench,
    figures: figures.map((figure) => ({ ...figure, met: isMet(figure) })),
  }));
  return `${JSON.stringify({ ...machine(), ...size, benches }, undefined, 2)}\n`;
}

function machine() {
  return {
    date: new Date().toISOString(),
    processor: cpus()[0]?.model.trim() ?? "an unknown processor",
    cores: cpus().length,
    node: process.version,
    /** Over the last minute: above the number of cores, others have measured along. */
    load: Number((loadavg()[0] ?? 0).toFixed(1)),
  };
}

function shownOf({ value, unit }: Figure): string {
  if (unit === "ratio") return value.toFixed(2);
  const text = value < 100 ? value.toFixed(value < 1 ? 3 : 1) : Math.round(value).toLocaleString("en-US");
  return unit === "count" ? text : `${text} ${unit}`;
}

function targetOf(figure: Figure): string {
  const { target } = figure;
  if (target === undefined) return "";
  const bound = "atMost" in target ? `at most ${target.atMost}` : `at least ${target.atLeast}`;
  return `${bound}${isMet(figure) ? "" : ": missed"}`;
}
