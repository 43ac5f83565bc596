-- What the first version made: a database as it is found.
PRAGMA application_id = 0x4d43544c;
PRAGMA user_version = 1;
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
