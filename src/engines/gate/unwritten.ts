import type { StoredRun, StoredStep } from "../../store/gate-runs.ts";

/** A workflow that the store may not have as it is, and its steps that changed, the later changes last. */
export interface Unwritten {
  readonly run: StoredRun;
  readonly steps: readonly StoredStep[];
}

/** The steps of one workflow in their order: as the store has them, and what was not written yet in its place. */
export function stepsWith(stored: readonly StoredStep[], unwritten: Unwritten | undefined): readonly StoredStep[] {
  if (unwritten === undefined || unwritten.steps.length === 0) return stored;
  const byIndex = new Map([...stored, ...unwritten.steps].map((step) => [step.index, step]));
  return [...byIndex.values()].sort((a, b) => a.index - b.index);
}
