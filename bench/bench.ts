/** How big a run is. */
export interface BenchSize {
  /** Workflows of a fleet; the other benches take their own sizes from it. */
  readonly workflows: number;
  /** How often each thing is measured; figures are medians. */
  readonly repeat: number;
}

/** One measured figure. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: "ns" | "ms" | "ratio" | "1/s" | "KiB" | "count";
  /** What it should be. */
  readonly target?: { readonly atMost: number } | { readonly atLeast: number };
}

/** One bench: things side by side in one run, so that their ratios mean something on any machine. */
export interface Bench {
  readonly name: string;
  readonly about: string;
  /** @param say a line about how far it has come. */
  run(size: BenchSize, say: (line: string) => void): Promise<Figure[]>;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The nearest of the values below which `percent` of them are. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length, Math.max(1, Math.ceil((percent / 100) * sorted.length))) - 1] ?? Number.NaN;
}

/** Undefined where the figure has no target. */
export function isMet({ value, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return "atMost" in target ? value <= target.atMost : value >= target.atLeast;
}

/** The contenders in an order that is another one in each round: none is always first. */
export function rotated<T>(contenders: readonly T[], round: number): T[] {
  const by = round % Math.max(1, contenders.length);
  return [...contenders.slice(by), ...contenders.slice(0, by)];
}
