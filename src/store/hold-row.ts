import type { HaltedSteps, Hold, Traits } from "./brake.ts";

/**
 * A hold as it is stored: a short list, for there are very many, and each is written whenever it comes further. Times are in ms
 * from its catch.
 */
export type HoldRow = [
  workflowId: string,
  /** Its traits as JSON, or 0: those of the hold before it in the same list. */
  traits: string | 0 | null,
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

const flag = { late: 1, ended: 2, foundPaused: 4, pausePending: 8, settled: 16 } as const;

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

/** The rows of a text, each with its own traits. */
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
  const traitsText = rememberingLast((traits: Traits) => JSON.stringify(traits));
  return holds.map(({ workflowId, traits, catchTime, late, caughtThrough, order, ended, halt }) => [
    workflowId,
    traits === undefined ? null : traitsText(traits),
    order,
    catchTime,
    caughtThrough,
    (late ? flag.late : 0) |
      (ended ? flag.ended : 0) |
      (halt.foundPaused ? flag.foundPaused : 0) |
      (halt.pausePending ? flag.pausePending : 0) |
      (halt.settled ? flag.settled : 0),
    halt.requestTime - catchTime,
    since(catchTime, halt.acceptTime),
    since(catchTime, halt.standstillTime),
    since(catchTime, halt.releaseTime),
    halt.steps ?? null,
  ]);
}

/** Rows as the holds of a brake. */
export function toHolds(brakeId: string, rows: readonly HoldRow[]): Hold[] {
  const traitsOf = rememberingLast((text: string) => JSON.parse(text) as Traits);
  return rows.map(
    ([workflowId, traits, order, catchTime, caughtThrough, flags, request, accept, standstill, release, steps]) => ({
      brakeId,
      workflowId,
      ...(traits && { traits: traitsOf(traits) }),
      catchTime,
      late: (flags & flag.late) !== 0,
      caughtThrough,
      order,
      ended: (flags & flag.ended) !== 0,
      halt: {
        foundPaused: (flags & flag.foundPaused) !== 0,
        requestTime: catchTime + request,
        acceptTime: at(catchTime, accept),
        standstillTime: at(catchTime, standstill),
        pausePending: (flags & flag.pausePending) !== 0,
        steps: steps ?? undefined,
        releaseTime: at(catchTime, release),
        settled: isSettled(flags),
      },
    }),
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

/** Those of a fleet are mostly the same, one after the other. */
function rememberingLast<Given, Result>(of: (given: Given) => Result): (given: Given) => Result {
  let last: { readonly given: Given; readonly result: Result } | undefined;
  return (given) => {
    if (last === undefined || last.given !== given) last = { given, result: of(given) };
    return last.result;
  };
}
