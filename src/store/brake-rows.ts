import type { DatabaseSync } from "node:sqlite";
import { type AuditEntry, AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Brake, Held, Hold } from "./brake.ts";
import { HoldPages } from "./hold-pages.ts";
import type { Answer, BrakeQuery, Change } from "./store.ts";

const maxBrakesPerQuery = 1000;
/** Answers are promised for 24 h. */
const answerLifetimeMs = 25 * 60 * 60 * 1000;
const maxPrunedAtOnce = 10_000;

/** Brakes, their holds, and the answers to idempotent requests, in SQLite. */
export class BrakeRows {
  readonly #db: DatabaseSync;
  readonly #holds: HoldPages;
  readonly #sql;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#holds = new HoldPages(db);
    this.#sql = {
      putBrake: db.prepare(
        `INSERT INTO brake (brake_id, state, json) VALUES (?, ?, ?)
         ON CONFLICT (brake_id) DO UPDATE SET state = excluded.state, json = excluded.json`,
      ),
      activeBrakes: db.prepare(
        `SELECT json FROM brake WHERE state IN ('AWAITING_APPROVAL', 'ENGAGED')
         OR position IN (SELECT brake FROM hold_page WHERE unsettled > 0) ORDER BY position`,
      ),
      brake: db.prepare("SELECT json FROM brake WHERE brake_id = ?"),
      brakeOfIntent: db.prepare("SELECT brake.json FROM effect JOIN brake USING (brake_id) WHERE entry_id = ?"),
      effect: db.prepare("INSERT INTO effect (entry_id, brake_id) VALUES (?, ?) ON CONFLICT DO NOTHING"),
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
  }

  /** Writes what a change says of brakes, within the transaction that is open. */
  write(change: Change, entries: readonly AuditEntry[]): void {
    const sql = this.#sql;
    for (const brake of change.brakes ?? []) sql.putBrake.run(brake.brakeId, brake.state, JSON.stringify(brake));
    for (const { phase, intentEntryId, brakeId } of entries) {
      const effect = phase === AuditEntry_Phase.SYSTEM && intentEntryId !== "" && brakeId !== "";
      if (effect) sql.effect.run(intentEntryId, brakeId);
    }
    this.#holds.write(change.holds ?? []);
    for (const { key, requestDigest, response, brakeId, time } of change.answers ?? []) {
      sql.putAnswer.run(key, requestDigest, response, brakeId, time);
    }
  }

  /** Forgets answers that are older than they are promised, within the transaction that is open. */
  prune(now: number): void {
    this.#sql.prune.run(now - answerLifetimeMs);
  }

  active(): Brake[] {
    return this.#sql.activeBrakes.all().map((row) => parse<Brake>(row.json));
  }

  get(brakeId: string): Brake | undefined {
    const row = this.#sql.brake.get(brakeId);
    return row && parse<Brake>(row.json);
  }

  ofIntent(entryId: string): Brake | undefined {
    const row = this.#sql.brakeOfIntent.get(entryId);
    return row && parse<Brake>(row.json);
  }

  list({ states = [], before, limit }: BrakeQuery): Brake[] {
    const { where, values } = join([
      oneOf("state", states),
      before !== undefined && ["position < (SELECT position FROM brake WHERE brake_id = ?)", before],
    ]);
    return this.#db
      .prepare(`SELECT json FROM brake ${where} ORDER BY position DESC LIMIT ?`)
      .all(...values, Math.min(limit, maxBrakesPerQuery))
      .map((row) => parse<Brake>(row.json));
  }

  holdsOf(brakeId: string): Hold[] {
    return this.#holds.of(brakeId);
  }

  heldOf(workflowId: string): Held[] {
    return this.#holds.on(workflowId);
  }

  answer(key: string): Answer | undefined {
    const row = this.#sql.answer.get(key);
    if (row === undefined) return undefined;
    return {
      key: row.key as string,
      requestDigest: row.request_digest as Uint8Array,
      response: row.response as Uint8Array,
      brakeId: row.brake_id as string,
      time: row.time as number,
    };
  }
}

function parse<T>(json: unknown): T {
  return JSON.parse(json as string) as T;
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
