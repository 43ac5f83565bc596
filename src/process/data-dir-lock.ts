import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StartupError } from "./startup-error.ts";

/** That this process alone uses a data directory. */
export interface DataDirLock {
  /** Safe to repeat. */
  release(): void;
}

/**
 * Takes the data directory for this process; makes it, for its owner alone, where there is none. The lock is an open
 * exclusive transaction on an empty SQLite file: the system releases it when the process ends, however it ends.
 * @throws StartupError where another process has it, or where the directory cannot be written to.
 */
export function lockDataDir(dataDir: string): DataDirLock {
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(join(dataDir, "lock"), { timeout: 0 });
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database?.close();
    if ((cause as { errcode?: number }).errcode === sqliteBusy) {
      throw new StartupError(
        `Another Mission Control uses the data directory ${dataDir}. Stop that one, or start this one with another directory ` +
          "(--data-dir).",
        { cause },
      );
    }
    throw new StartupError(
      `The data directory ${dataDir} cannot be used: ${(cause as Error).message}. Make it writable, or choose another one ` +
        "(--data-dir).",
      { cause },
    );
  }
  const held = database;
  return {
    release: () => {
      if (held.isOpen) held.close();
    },
  };
}

const sqliteBusy = 5;
