/** SQLite's result codes for a database that cannot be written now, whatever the change is. */
const outages: ReadonlySet<number> = new Set([
  5, // busy: another process holds a lock
  6, // locked
  8, // read-only
  10, // input/output error
  11, // corrupt
  13, // the disk is full
  14, // cannot be opened
  15, // the locking protocol fails
  26, // not a database
]);

/** True where a commit was refused because the database cannot be written, and not because of what was to be written. */
export function isOutage(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error && "errcode" in cause && outages.has(Number(cause.errcode) & 0xff);
}
