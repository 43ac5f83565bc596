import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AuditEntry, AuditEntry_Phase, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import { leafHash } from "../proof/hash.ts";
import type { Brake, Held, Hold } from "./brake.ts";
import { sqliteProofs } from "./sqlite-proofs.ts";
import { openDatabase } from "./sqlite-schema.ts";
import type { Answer, Change, EntryQuery, Store, StoredEntry } from "./store.ts";

/** Changes that may wait for one disk write. More than this waiting means that the disk does not keep up. */
const maxWaiting = 4096;
/** A page of 1000, and one more to tell whether there is another. */
const maxEntriesPerQuery = 1001;
const maxHoldsPerWorkflow = 1000;
const maxBrakesPerQuery = 1000;
/** Answers are promised for 24 h. */
const answerLifetimeMs = 25 * 60 * 60 * 1000;
const pruneEveryMs = 60 * 1000;
const maxPrunedAtOnce = 10_000;

interface Waiting {
  readonly change: Change;
  readonly resolve: (entries: AuditEntry[]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The embedded store: one SQLite file, for one process. What is committed in one turn of the event loop shares one
 * transaction and one disk write (group commit); a savepoint keeps each change atomic, so that one that fails takes no
 * other with it.
 *
 * @param path of the database file, made where it is missing.
 * @throws MissionControlError LEDGER_UNAVAILABLE where it cannot be opened, with what to do.
 */
export function openSqlite(path: string): Store {
  const db = openDatabase(path);
  const sql = {
    head: db.prepare("SELECT coalesce(max(sequence), 0) AS head FROM entry"),
    insertEntry: db.prepare(
      `INSERT INTO entry (sequence, entry_id, bytes, leaf_hash, time, phase, subject, action, target, call_id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    storedEntry: db.prepare("SELECT sequence, bytes FROM entry WHERE entry_id = ?"),
    storedEntries: db.prepare("SELECT sequence, bytes FROM entry WHERE sequence > ? ORDER BY sequence LIMIT ?"),
    openIntent: db.prepare("INSERT INTO open_intent (entry_id, sequence) VALUES (?, ?)"),
    closeIntent: db.prepare("DELETE FROM open_intent WHERE entry_id = ?"),
    openIntents: db.prepare(
      "SELECT entry.bytes FROM open_intent JOIN entry USING (entry_id) ORDER BY open_intent.sequence",
    ),
    putBrake: db.prepare(
      `INSERT INTO brake (brake_id, state, json) VALUES (?, ?, ?)
       ON CONFLICT (brake_id) DO UPDATE SET state = excluded.state, json = excluded.json`,
    ),
    putHold: db.prepare(
      `INSERT INTO hold (brake_id, workflow_id, settled, json) VALUES (?, ?, ?, ?)
       ON CONFLICT (brake_id, workflow_id) DO UPDATE SET settled = excluded.settled, json = excluded.json`,
    ),
    activeBrakes: db.prepare(
      `SELECT json FROM brake WHERE state IN ('AWAITING_APPROVAL', 'ENGAGED')
       OR brake_id IN (SELECT brake_id FROM hold WHERE settled = 0) ORDER BY position`,
    ),
    brake: db.prepare("SELECT json FROM brake WHERE brake_id = ?"),
    brakeOfIntent: db.prepare("SELECT brake.json FROM effect JOIN brake USING (brake_id) WHERE entry_id = ?"),
    effect: db.prepare("INSERT INTO effect (entry_id, brake_id) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    holdsOf: db.prepare("SELECT json FROM hold WHERE brake_id = ? ORDER BY position"),
    heldOf: db.prepare(
      `SELECT * FROM (SELECT hold.position, brake.json AS brake, hold.json AS hold FROM hold JOIN brake USING (brake_id)
       WHERE workflow_id = ? ORDER BY hold.position DESC LIMIT ${maxHoldsPerWorkflow}) ORDER BY position`,
    ),
    // The first answer stands: a request that was answered is never answered otherwise.
    putAnswer: db.prepare(
      `INSERT INTO answer (key, request_digest, response, brake_id, time) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET response = excluded.response WHERE length(response) = 0`,
    ),
    answer: db.prepare("SELECT key, request_digest, response, brake_id, time FROM answer WHERE key = ?"),
    prune: db.prepare(
      `DELETE FROM answer WHERE key IN (SELECT key FROM answer WHERE time < ? ORDER BY time LIMIT ${maxPrunedAtOnce})`,
    ),
  };

  let waiting: Waiting[] = [];
  let scheduled = false;
  let closed = false;
  let pruneTime = 0;

  function flush(): void {
    scheduled = false;
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    const answers: (() => void)[] = [];
    try {
      db.exec("BEGIN IMMEDIATE");
      let head = Number(sql.head.get()?.head);
      for (const { change, resolve, reject } of batch) {
        try {
          db.exec("SAVEPOINT change");
          const entries = write(change, head);
          db.exec("RELEASE change");
          head += entries.length;
          answers.push(() => resolve(entries));
        } catch (error) {
          // A full disk or a failing one makes SQLite give up the whole transaction, not only this change.
          if (!db.isTransaction) throw error;
          db.exec("ROLLBACK TO change; RELEASE change");
          answers.push(() => reject(unavailable(error)));
        }
      }
      prune();
      db.exec("COMMIT");
    } catch (error) {
      for (const { reject } of batch) reject(unavailable(error));
      rollBack();
      return;
    }
    for (const answer of answers) answer();
  }

  function rollBack(): void {
    try {
      if (db.isTransaction) db.exec("ROLLBACK");
    } catch {
      // The next flush fails to begin, comes here again, and refuses its changes: nothing is lost that was acknowledged.
    }
  }

  function write(change: Change, head: number): AuditEntry[] {
    const entries = change.entries.map((entry, index) => append(entry, head + index + 1));
    for (const brake of change.brakes ?? []) sql.putBrake.run(brake.brakeId, brake.state, JSON.stringify(brake));
    for (const { phase, intentEntryId, brakeId } of entries) {
      const effect = phase === AuditEntry_Phase.SYSTEM && intentEntryId !== "" && brakeId !== "";
      if (effect) sql.effect.run(intentEntryId, brakeId);
    }
    for (const hold of change.holds ?? []) {
      sql.putHold.run(hold.brakeId, hold.workflowId, hold.halt.settled ? 1 : 0, JSON.stringify(hold));
    }
    for (const { key, requestDigest, response, brakeId, time } of change.answers ?? []) {
      sql.putAnswer.run(key, requestDigest, response, brakeId, time);
    }
    return entries;
  }

  function append(given: AuditEntry, sequence: number): AuditEntry {
    const entry: AuditEntry = { ...given, sequence: BigInt(sequence) };
    const bytes = toBinary(AuditEntrySchema, entry);
    sql.insertEntry.run(
      sequence,
      entry.entryId,
      bytes,
      leafHash(bytes),
      entry.time === undefined ? null : timestampMs(entry.time),
      entry.phase,
      entry.principal?.subject ?? "",
      entry.action,
      entry.target,
      entry.callId,
    );
    if (entry.phase === AuditEntry_Phase.INTENT) sql.openIntent.run(entry.entryId, sequence);
    if (entry.phase === AuditEntry_Phase.OUTCOME) sql.closeIntent.run(entry.intentEntryId);
    return entry;
  }

  function prune(): void {
    const now = Date.now();
    if (now - pruneTime < pruneEveryMs) return;
    sql.prune.run(now - answerLifetimeMs);
    pruneTime = now;
  }

  /** Reads what is committed; a failure of the disk is told like one of a write. */
  async function read<T>(query: () => T): Promise<T> {
    try {
      return query();
    } catch (error) {
      throw unavailable(error);
    }
  }

  return {
    proofs: sqliteProofs(db, unavailable),

    commit(change) {
      return new Promise((resolve, reject) => {
        if (closed) return reject(unavailable(new Error("it is closed")));
        if (waiting.length >= maxWaiting) {
          return reject(unavailable(new Error(`${maxWaiting} changes wait for the disk already`)));
        }
        waiting.push({ change, resolve, reject });
        if (scheduled) return;
        scheduled = true;
        setImmediate(flush);
      });
    },

    listEntries(query) {
      return read(() => {
        const { where, values } = conditions(query);
        const limit = Math.max(0, Math.min(query.limit, maxEntriesPerQuery));
        const rows = db
          .prepare(`SELECT bytes FROM entry ${where} ORDER BY sequence DESC LIMIT ?`)
          .all(...values, limit);
        return rows.map(toEntry);
      });
    },

    storedEntry: (entryId) =>
      read(() => {
        const row = sql.storedEntry.get(entryId);
        return row && toStoredEntry(row);
      }),
    storedEntries: (after, limit) =>
      read(() => sql.storedEntries.all(after, Math.min(limit, maxEntriesPerQuery)).map(toStoredEntry)),
    get head() {
      return BigInt(Number(sql.head.get()?.head));
    },

    openIntents: () => read(() => sql.openIntents.all().map(toEntry)),
    activeBrakes: () => read(() => sql.activeBrakes.all().map((row) => parse<Brake>(row.json))),
    brake: (brakeId) =>
      read(() => {
        const row = sql.brake.get(brakeId);
        return row && parse<Brake>(row.json);
      }),
    brakeOfIntent: (entryId) =>
      read(() => {
        const row = sql.brakeOfIntent.get(entryId);
        return row && parse<Brake>(row.json);
      }),
    listBrakes({ states = [], before, limit }) {
      return read(() => {
        const { where, values } = join([
          oneOf("state", states),
          before !== undefined && ["position < (SELECT position FROM brake WHERE brake_id = ?)", before],
        ]);
        const rows = db
          .prepare(`SELECT json FROM brake ${where} ORDER BY position DESC LIMIT ?`)
          .all(...values, Math.min(limit, maxBrakesPerQuery));
        return rows.map((row) => parse<Brake>(row.json));
      });
    },
    holdsOf: (brakeId) => read(() => sql.holdsOf.all(brakeId).map((row) => parse<Hold>(row.json))),
    heldOf: (workflowId) =>
      read(() =>
        sql.heldOf
          .all(workflowId)
          .map((row): Held => ({ brake: parse<Brake>(row.brake), hold: parse<Hold>(row.hold) })),
      ),
    answer: (key) => read(() => toAnswer(sql.answer.get(key))),

    async close() {
      if (closed) return;
      closed = true;
      flush();
      db.close();
    },
  };
}

type Row = Record<string, unknown>;

function toEntry(row: Row): AuditEntry {
  return fromBinary(AuditEntrySchema, row.bytes as Uint8Array);
}

function toStoredEntry(row: Row): StoredEntry {
  return { sequence: BigInt(row.sequence as number), bytes: row.bytes as Uint8Array };
}

function parse<T>(json: unknown): T {
  return JSON.parse(json as string) as T;
}

function toAnswer(row: Row | undefined): Answer | undefined {
  if (row === undefined) return undefined;
  return {
    key: row.key as string,
    requestDigest: row.request_digest as Uint8Array,
    response: row.response as Uint8Array,
    brakeId: row.brake_id as string,
    time: row.time as number,
  };
}

type Value = string | number | bigint;
type Condition = false | readonly [string, ...Value[]];

/** A WHERE clause of those conditions that are there, each with its values. */
function join(conditions: readonly Condition[]): { where: string; values: Value[] } {
  const given = conditions.filter((condition) => condition !== false);
  return {
    where: given.length === 0 ? "" : `WHERE ${given.map(([part]) => part).join(" AND ")}`,
    values: given.flatMap(([, ...values]) => values),
  };
}

function oneOf(column: string, given: readonly (string | number)[] = []): Condition {
  return given.length > 0 && [`${column} IN (${given.map(() => "?").join(", ")})`, ...given];
}

function conditions(query: EntryQuery): { where: string; values: Value[] } {
  return join([
    query.subject !== undefined && ["subject = ?", query.subject],
    query.target !== undefined && ["target = ?", query.target],
    query.callId !== undefined && ["call_id = ?", query.callId],
    oneOf("action", query.actions),
    oneOf("phase", query.phases),
    query.since !== undefined && ["time >= ?", query.since],
    query.until !== undefined && ["time < ?", query.until],
    query.before !== undefined && ["sequence < ?", query.before],
  ]);
}

function unavailable(cause: unknown): MissionControlError {
  if (cause instanceof MissionControlError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new MissionControlError(
    "LEDGER_UNAVAILABLE",
    `the ledger cannot be used (${why}): nothing is done that cannot be recorded; try again, and see to the server's disk`,
    { cause },
  );
}
