import { randomBytes } from "node:crypto";
import { closeSync, existsSync, openSync, rmSync, writeSync } from "node:fs";

/** SQLite needs 32 KiB beside a database to open it at all; the rest is for what else fills a disk at that moment. */
const bytes = 128 * 1024;

const reserveOf = (path: string) => `${path}-reserve`;

/** Keeps some room on the disk beside the database, for a start when there is no other. What cannot be kept is gone without. */
export function keepReserve(path: string): void {
  const reserve = reserveOf(path);
  if (existsSync(reserve)) return;
  try {
    const file = openSync(reserve, "wx", 0o600);
    try {
      // Random: a file system that compresses keeps room for it all the same.
      if (writeSync(file, randomBytes(bytes)) === bytes) return;
    } finally {
      closeSync(file);
    }
  } catch {
    // The disk is full: the next start tries again.
  }
  rmSync(reserve, { force: true });
}

/** Gives the room up; false where there was none, or it cannot be. */
export function releaseReserve(path: string): boolean {
  const reserve = reserveOf(path);
  if (!existsSync(reserve)) return false;
  try {
    rmSync(reserve);
    return true;
  } catch {
    return false;
  }
}
