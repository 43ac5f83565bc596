import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MissionControlError } from "../errors.ts";
import { gateRunSchema } from "./gate-runs.ts";
import { gateTokenSchema } from "./gate-tokens.ts";
import { holdPageSchema, workflowKey } from "./hold-pages.ts";
import { keepReserve, releaseReserve } from "./reserve.ts";
import { revocationSchema } from "./revocations.ts";

/** Marks a file as ours ("MCTL"), so that a path typed wrong never puts a ledger into a stranger's database. */
const applicationId = 0x4d43544c;

/** How long one attempt waits for a lock that another process holds; who waits for the commit waits longer, without blocking. */
const lockTimeoutMs = 20;

/** Each takes the schema one version up, in one transaction. Never changed once released; the next one is appended. */
const migrations: readonly string[] = [
  `
  CREATE TABLE entry (
    sequence  INTEGER PRIMARY KEY CHECK (sequence > 0),
    entry_id  TEXT NOT NULL UNIQUE CHECK (entry_id <> ''),
    bytes     BLOB NOT NULL,
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    time      INTEGER NOT NULL,
    phase     INTEGER NOT NULL CHECK (phase > 0),
    subject   TEXT NOT NULL,
    action    TEXT NOT NULL,
    target    TEXT NOT NULL,
    call_id   TEXT NOT NULL
  ) STRICT;
  CREATE INDEX entry_by_time ON entry (time);
  CREATE INDEX entry_by_phase ON entry (phase, sequence);
  CREATE INDEX entry_by_subject ON entry (subject, sequence);
  CREATE INDEX entry_by_action ON entry (action, sequence);
  CREATE INDEX entry_by_target ON entry (target, sequence);
  CREATE INDEX entry_by_call ON entry (call_id, sequence);
  CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
  CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;

  CREATE TABLE open_intent (
    entry_id TEXT PRIMARY KEY REFERENCES entry (entry_id),
    sequence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE brake (
    position INTEGER PRIMARY KEY,
    brake_id TEXT NOT NULL UNIQUE,
    state    TEXT NOT NULL,
    json     TEXT NOT NULL
  ) STRICT;
  CREATE INDEX brake_by_state ON brake (state, position);

  CREATE TABLE effect (
    entry_id TEXT PRIMARY KEY,
    brake_id TEXT NOT NULL REFERENCES brake (brake_id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE hold (
    position    INTEGER PRIMARY KEY,
    brake_id    TEXT NOT NULL REFERENCES brake (brake_id),
    workflow_id TEXT NOT NULL,
    settled     INTEGER NOT NULL CHECK (settled IN (0, 1)),
    json        TEXT NOT NULL,
    UNIQUE (brake_id, workflow_id)
  ) STRICT;
  CREATE INDEX hold_by_workflow ON hold (workflow_id, position);
  CREATE INDEX hold_unsettled ON hold (brake_id) WHERE settled = 0;

  CREATE TABLE answer (
    key            TEXT PRIMARY KEY,
    request_digest BLOB NOT NULL,
    response       BLOB NOT NULL,
    brake_id       TEXT NOT NULL,
    time           INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX answer_by_time ON answer (time);
  `,
  `
  CREATE TABLE tile (
    level    INTEGER NOT NULL CHECK (level >= 0),
    position INTEGER NOT NULL CHECK (position >= 0),
    hashes   BLOB NOT NULL CHECK (length(hashes) = 8192),
    UNIQUE (level, position)
  ) STRICT;

  CREATE TABLE checkpoint (
    day  INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    time INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE log_note (
    position INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    note     TEXT NOT NULL,
    time     INTEGER NOT NULL
  ) STRICT;
  `,
  // Entries become their bytes alone. What they are found by is made from them anew.
  `
  ALTER TABLE entry RENAME TO old_entry;
  CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    bytes    BLOB NOT NULL CHECK (length(bytes) > 0)
  ) STRICT;
  INSERT INTO entry (sequence, bytes) SELECT sequence, bytes FROM old_entry ORDER BY sequence;

  CREATE TABLE new_open_intent (sequence INTEGER PRIMARY KEY) STRICT;
  INSERT INTO new_open_intent (sequence) SELECT sequence FROM open_intent;
  DROP TABLE open_intent;
  ALTER TABLE new_open_intent RENAME TO open_intent;
  DROP TRIGGER entry_is_never_deleted;
  DROP TABLE old_entry;

  CREATE TABLE ledger_state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_to INTEGER NOT NULL,
    pruned_to  INTEGER NOT NULL
  ) STRICT;
  INSERT INTO ledger_state (id, indexed_to, pruned_to) VALUES (1, 0, 0);

  CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
  CREATE TRIGGER entry_is_only_pruned BEFORE DELETE ON entry WHEN old.sequence > (SELECT pruned_to FROM ledger_state)
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;

  CREATE TABLE personal (
    sequence    INTEGER PRIMARY KEY,
    disclosures BLOB NOT NULL
  ) STRICT;

  CREATE TABLE entry_filter (
    key      INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (key, sequence)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE entry_block (
    block    INTEGER PRIMARY KEY,
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX entry_block_by_time ON entry_block (max_time, min_time);
  `,
  revocationSchema,
  gateTokenSchema,
  gateRunSchema,
  // Holds become pages of them.
  holdPageSchema,
];

/** SQLite's result codes of a full disk: so of a write, and an input/output error of the file beside the database. */
const roomless: ReadonlySet<number> = new Set([10, 13]);

/** Without the database nothing tells what is braked, and whether the ledger is the one that was published. */
const whatToDo =
  "What is paused stays paused, but nothing more is caught until it can be opened: free space, or mount the disk so that it can be " +
  "written; or copy the whole data directory to a disk that can be, and start with that: the ledger goes on there";

/**
 * Opens the database at the path, made where it is missing (a new directory 0700, the file 0600), and takes its schema up to
 * this version. Throws MissionControlError LEDGER_UNAVAILABLE where the file is a stranger's, was written by a newer
 * version, or cannot be written durably.
 */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync;
  try {
    db = open(path);
  } catch (error) {
    // On a full disk not even the file can be made by which a database is read.
    if (!needsRoom(error) || !releaseReserve(path)) throw error;
    db = open(path);
  }
  keepReserve(path);
  return db;
}

function open(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Made by us before SQLite does, for its mode; the -wal and -shm files take theirs from it.
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
    db = new DatabaseSync(path, { timeout: lockTimeoutMs });
    claim(db, path);
    makeDurable(db, path);
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof MissionControlError) throw error;
    throw new MissionControlError(
      "LEDGER_UNAVAILABLE",
      `cannot open the ledger's database ${path}: ${messageOf(error)}. ${whatToDo}`,
      {
        cause: error,
      },
    );
  }
}

function needsRoom(error: unknown): boolean {
  const { errcode } = ((error as Error).cause ?? {}) as { errcode?: number };
  return errcode !== undefined && roomless.has(errcode & 0xff);
}

function claim(db: DatabaseSync, path: string): void {
  const owner = pragma(db, "application_id");
  if (owner === applicationId) return;
  const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n;
  if (owner !== 0 || tables !== 0) {
    throw new MissionControlError(
      "LEDGER_UNAVAILABLE",
      `${path} is a database of another program: name a path of Mission Control's own`,
    );
  }
  db.exec(`PRAGMA application_id = ${applicationId}`);
}

/** With synchronous=NORMAL acknowledged entries would die with the power; fullfsync is what macOS needs for the same. */
function makeDurable(db: DatabaseSync, path: string): void {
  db.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;",
  );
  // What is erased is overwritten, not only marked as free.
  db.exec("PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;");
  if (pragma(db, "journal_mode") !== "wal" || pragma(db, "synchronous") !== 2) {
    throw new MissionControlError(
      "LEDGER_UNAVAILABLE",
      `${path} cannot be written durably (SQLite refuses a write-ahead log there): use a local disk, not a network share`,
    );
  }
}

function migrate(db: DatabaseSync, path: string): void {
  db.function("workflow_key", { deterministic: true }, (workflowId) => workflowKey(String(workflowId)));
  // Nothing is written that need not be: a database that cannot be written now can be read all the same.
  if (pragma(db, "user_version") === migrations.length) return;
  db.exec("BEGIN IMMEDIATE");
  try {
    const version = Number(pragma(db, "user_version"));
    if (version > migrations.length) {
      throw new MissionControlError(
        "LEDGER_UNAVAILABLE",
        `${path} was written by a newer Mission Control (schema ${version}, this one knows ${migrations.length}): start that ` +
          "version, or name another data directory",
      );
    }
    for (const migration of migrations.slice(version)) db.exec(migration);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function pragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
