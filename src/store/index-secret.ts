import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";

const secretBytes = 32;

/**
 * The secret of the index: a file of its own beside the database, so that the database alone does not tell whether somebody is
 * in it. Where it is lost, it is made anew, and so is the index.
 */
export function openIndexSecret(path: string, db: DatabaseSync): Uint8Array {
  if (existsSync(path)) {
    const secret = readFileSync(path);
    if (secret.length === secretBytes) return secret;
  }
  const secret = randomBytes(secretBytes);
  const file = openSync(`${path}.new`, "w", 0o600);
  writeSync(file, secret);
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.new`, path);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
  db.exec("BEGIN; DELETE FROM entry_filter; DELETE FROM entry_block; UPDATE ledger_state SET indexed_to = 0; COMMIT");
  return secret;
}
