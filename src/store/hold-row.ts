import type { Halt, HaltedSteps, Hold } from "./brake.ts";

/**
 * A hold as it is stored: a short list, for there are very many, and each is written whenever it comes further. Times are in ms
 * from its catch.
 */
export type HoldRow = [
  workflowId: string,
  /** What it is, as JSON, or 0: the same as the hold before it in the same list. */
  about: string | 0 | null,
  order: number,
  catchTime: number,
  caughtThrough: string,
  flags: number,
  requestTime: number,
  acceptTime: number | null,
  standstillTime: number | null,
  releaseTime: number | null,
  steps: HaltedSteps | null,
];

const flag = { late: 1, ended: 2, foundPaused: 4, pausePending: 8, settled: 16, missed: 32 } as const;

type About = Pick<Hold, "traits" | "name">;

/** Rows as one text. */
export function packRows(rows: readonly HoldRow[]): string {
  let before: HoldRow[1] = null;
  const short = rows.map((row): HoldRow => {
    const isSame = row[1] !== null && row[1] === before;
    before = row[1];
    return isSame ? (row.with(1, 0) as HoldRow) : row;
  });
  return JSON.stringify(short);
}

/** The rows of a text, each with what it is. */
export function unpackRows(packed: string): HoldRow[] {
  const rows = JSON.parse(packed) as HoldRow[];
  let before: HoldRow[1] = null;
  for (const row of rows) {
    if (row[1] === 0) row[1] = before;
    before = row[1];
  }
  return rows;
}

/** Holds as rows. */
export function toRows(holds: readonly Hold[]): HoldRow[] {
  let last: { readonly about: About; readonly text: string } | undefined;
  return holds.map((hold) => {
    const { workflowId, traits, name, catchTime, late, missed, caughtThrough, order, ended, halt } = hold;
    // Those of a fleet are mostly the same, one after the other.
    if (last === undefined || last.about.traits !== traits || last.about.name !== name) {
      last = { about: { traits, name }, text: JSON.stringify({ traits, name }) };
    }
    return [
      workflowId,
      last.text,
      order,
      catchTime,
      caughtThrough,
      (late ? flag.late : 0) |
        (ended ? flag.ended : 0) |
        (halt.foundPaused ? flag.foundPaused : 0) |
        (halt.pausePending ? flag.pausePending : 0) |
        (halt.settled ? flag.settled : 0) |
        (missed ? flag.missed : 0),
      halt.requestTime - catchTime,
      since(catchTime, halt.acceptTime),
      since(catchTime, halt.standstillTime),
      since(catchTime, halt.releaseTime),
      halt.steps ?? null,
    ];
  });
}

/** Rows as the holds of a brake. */
export function toHolds(brakeId: string, rows: readonly HoldRow[]): Hold[] {
  let last: { readonly text: HoldRow[1]; readonly about: About } | undefined;
  return rows.map(
    ([workflowId, text, order, catchTime, caughtThrough, flags, request, accept, standstill, release, steps]) => {
      if (last?.text !== text) last = { text, about: text ? JSON.parse(text) : {} };
      // Every field is named, here and above: one that is not would be lost.
      const halt: Halt & Record<keyof Halt, unknown> = {
        foundPaused: (flags & flag.foundPaused) !== 0,
        requestTime: catchTime + request,
        acceptTime: at(catchTime, accept),
        standstillTime: at(catchTime, standstill),
        pausePending: (flags & flag.pausePending) !== 0,
        steps: steps ?? undefined,
        releaseTime: at(catchTime, release),
        settled: isSettled(flags),
      };
      const read: Hold & Record<keyof Hold, unknown> = {
        brakeId,
        workflowId,
        traits: last?.about.traits ?? undefined,
        name: last?.about.name ?? undefined,
        catchTime,
        late: (flags & flag.late) !== 0,
        missed: (flags & flag.missed) !== 0 || undefined,
        caughtThrough,
        order,
        ended: (flags & flag.ended) !== 0,
        halt,
      };
      return read;
    },
  );
}

/** True where nothing is left to do for the hold of the row. */
export function isSettledRow(row: HoldRow): boolean {
  return isSettled(row[5]);
}

function isSettled(flags: number): boolean {
  return (flags & flag.settled) !== 0;
}

function since(catchTime: number, time: number | undefined): number | null {
  return time === undefined ? null : time - catchTime;
}

function at(catchTime: number, time: number | null): number | undefined {
  return time === null ? undefined : catchTime + time;
}
