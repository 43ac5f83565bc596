import { formatDuration } from "../duration.ts";
import type { ProgressView } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { renderBar } from "./bar.ts";

/** How many entries are done. */
export interface EntriesMoment {
  readonly done: number;
  /** How many there are in all, as far as that is known. */
  readonly of: number | undefined;
}

/** Progress through a ledger. */
export function entriesProgress(terminal: Terminal, verb: string): ProgressView<EntriesMoment> {
  const began = performance.now();
  let first: number | undefined;
  const texts = (moment: EntriesMoment): string[] => {
    const { done } = moment;
    // The ledger grows while one goes through it.
    const of = moment.of === undefined ? undefined : Math.max(moment.of, done);
    first ??= done;
    const elapsedMs = performance.now() - began;
    const rate = ((done - first) / elapsedMs) * 1000;
    const left = of !== undefined && rate > 0 ? [`${formatDuration(((of - done) / rate) * 1000)} left`] : [];
    return [
      of === undefined ? `${count(done)} entries ${verb}` : `${count(done)}/${count(of)} entries ${verb}`,
      ...(rate > 0 ? [`${count(Math.round(rate))}/s`] : []),
      ...left,
    ];
  };
  return {
    line: (moment) => texts(moment).join(", "),
    bar: (moment, columns) => {
      const { done, of = done } = moment;
      return renderBar(terminal, { done, of: Math.max(of, done), style: "cyan", texts: texts(moment) }, columns);
    },
  };
}

/** A number with its thousands apart. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}
