import type { DatabaseSync, StatementSync } from "node:sqlite";

/** How a workflow stands that a runtime reported; the names are those of the engines' contract. */
export type RunStatus =
  | "pending"
  | "running"
  | "paused"
  | "silent"
  | "completed"
  | "failed"
  | "canceled"
  | "rolledBack";

/** A workflow as its runtime reported it to a gate engine. Times in ms since the epoch. */
export interface StoredRun {
  readonly engine: string;
  /** The runtime's own id. */
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly parentId: string | undefined;
  /** What it was given: JSON, without secrets, and perhaps cut. Undefined: not told, or not kept. */
  readonly inputs: string | undefined;
  readonly status: RunStatus;
  /** The status in more words, for people. */
  readonly phase: string;
  readonly createTime: number;
  readonly startTime: number | undefined;
  readonly updateTime: number;
  /** When its runtime was last heard of it. */
  readonly seenTime: number;
  readonly endTime: number | undefined;
  readonly errorMessage: string;
  /** True while the engine was asked to hold it. */
  readonly held: boolean;
}

/** A step that began. */
export interface StoredStep {
  readonly engine: string;
  readonly runId: string;
  /** Its place among the workflow's steps, from 0. */
  readonly index: number;
  /** The runtime's own; unique in the workflow. */
  readonly stepId: string;
  readonly name: string;
  readonly agent: string;
  readonly riskLevel: string;
  /** As of a workflow. */
  readonly inputs: string | undefined;
  readonly startTime: number;
  readonly endTime: number | undefined;
  /** `unknown`: it is over, and nobody told how it ended. */
  readonly outcome: "inFlight" | "succeeded" | "failed" | "canceled" | "unknown";
  readonly errorMessage: string;
}

/** Which workflows; all that is set has to match, an empty list is never matched. */
export interface RunFilter {
  readonly statuses?: readonly RunStatus[] | undefined;
  readonly types?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly ids?: readonly string[] | undefined;
  /** None of these. */
  readonly otherThan?: readonly string[] | undefined;
  readonly idPrefix?: string | undefined;
  readonly namePrefix?: string | undefined;
  /** Inclusive. */
  readonly createdAfter?: Date | undefined;
  /** Exclusive. */
  readonly createdBefore?: Date | undefined;
  /** At least one of these has to match as well. */
  readonly within?: readonly RunFilter[] | undefined;
}

/** What gate engines keep, to be read. */
export interface RunStore {
  /** Ordered by createTime, then id, both descending; only what comes behind `after`. */
  list(
    engine: string,
    filter: RunFilter & { readonly after?: { readonly createTime: Date; readonly id: string } | undefined },
    limit: number,
  ): Promise<StoredRun[]>;
  count(engine: string, filter: RunFilter): Promise<Partial<Record<RunStatus, number>>>;
  /** The longest unchanged first, of those that changed at or after it, ms since the epoch. */
  changedSince(engine: string, filter: RunFilter, since: number, limit: number): Promise<StoredRun[]>;
  /** All that have not ended. */
  open(engine: string): Promise<StoredRun[]>;
  /** The ids of all. */
  ids(engine: string): Promise<string[]>;
  /** The ids of ended ones to forget: those that ended before it, and the oldest beyond that many; at most 1000. */
  old(engine: string, endedBefore: number, keep: number): Promise<string[]>;
  /** The steps of these, each workflow's in their order. */
  steps(engine: string, ids: readonly string[]): Promise<StoredStep[]>;
}

/** What changes of what gate engines keep. */
export interface RunChange {
  /** To insert or to replace, by engine and id. */
  readonly runs: readonly StoredRun[];
  /** To insert or to replace, by engine, runId and index. */
  readonly steps: readonly StoredStep[];
  /** To forget, with their steps. */
  readonly forget: readonly { readonly engine: string; readonly id: string }[];
}

export const gateRunSchema = `
  CREATE TABLE gate_run (
    engine      TEXT NOT NULL,
    id          TEXT NOT NULL,
    status      TEXT NOT NULL,
    open        INTEGER NOT NULL CHECK (open IN (0, 1)),
    type        TEXT NOT NULL,
    name        TEXT NOT NULL,
    labels      TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    json        TEXT NOT NULL,
    PRIMARY KEY (engine, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX gate_run_by_creation ON gate_run (engine, create_time, id);
  CREATE INDEX gate_run_by_change ON gate_run (engine, update_time, id);
  CREATE INDEX gate_run_open ON gate_run (engine) WHERE open = 1;

  CREATE TABLE gate_step (
    engine   TEXT NOT NULL,
    run_id   TEXT NOT NULL,
    position INTEGER NOT NULL,
    json     TEXT NOT NULL,
    PRIMARY KEY (engine, run_id, position)
  ) STRICT, WITHOUT ROWID;
`;

const maxListed = 10_000;
const maxForgottenAtOnce = 1000;

/** The rows of what gate engines keep; to be used within the transactions and reads of the store. */
export class GateRunRows {
  readonly #db: DatabaseSync;
  readonly #putRun: StatementSync;
  readonly #putStep: StatementSync;
  readonly #forgetRun: StatementSync;
  readonly #forgetSteps: StatementSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#putRun = db.prepare(
      `INSERT INTO gate_run (engine, id, status, open, type, name, labels, create_time, update_time, json)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (engine, id) DO UPDATE SET status = excluded.status, open = excluded.open, type = excluded.type,
         name = excluded.name, labels = excluded.labels, create_time = excluded.create_time,
         update_time = excluded.update_time, json = excluded.json`,
    );
    this.#putStep = db.prepare(
      `INSERT INTO gate_step (engine, run_id, position, json) VALUES (?, ?, ?, ?)
       ON CONFLICT (engine, run_id, position) DO UPDATE SET json = excluded.json`,
    );
    this.#forgetRun = db.prepare("DELETE FROM gate_run WHERE engine = ? AND id = ?");
    this.#forgetSteps = db.prepare("DELETE FROM gate_step WHERE engine = ? AND run_id = ?");
  }

  write({ runs, steps, forget }: RunChange): void {
    for (const run of runs) {
      this.#putRun.run(
        run.engine,
        run.id,
        run.status,
        run.endTime === undefined ? 1 : 0,
        run.type,
        run.name,
        JSON.stringify(run.labels),
        run.createTime,
        run.updateTime,
        JSON.stringify(run),
      );
    }
    for (const step of steps) this.#putStep.run(step.engine, step.runId, step.index, JSON.stringify(step));
    for (const { engine, id } of forget) {
      this.#forgetRun.run(engine, id);
      this.#forgetSteps.run(engine, id);
    }
  }

  list(engine: string, filter: Parameters<RunStore["list"]>[1], limit: number): StoredRun[] {
    const { sql, values } = where(engine, filter);
    const after = filter.after && [filter.after.createTime.getTime(), filter.after.id];
    return this.#runs(
      `${sql}${after ? " AND (create_time, id) < (?, ?)" : ""} ORDER BY create_time DESC, id DESC LIMIT ?`,
      [...values, ...(after ?? []), Math.min(limit, maxListed)],
    );
  }

  count(engine: string, filter: RunFilter): Partial<Record<RunStatus, number>> {
    const { sql, values } = where(engine, filter);
    const rows = this.#db.prepare(`SELECT status, count(*) AS n FROM gate_run WHERE ${sql} GROUP BY status`);
    return Object.fromEntries(rows.all(...values).map(({ status, n }) => [status as RunStatus, Number(n)]));
  }

  changedSince(engine: string, filter: RunFilter, since: number, limit: number): StoredRun[] {
    const { sql, values } = where(engine, filter);
    return this.#runs(`${sql} AND update_time >= ? ORDER BY update_time, id LIMIT ?`, [
      ...values,
      since,
      Math.min(limit, maxListed),
    ]);
  }

  open(engine: string): StoredRun[] {
    return this.#runs("engine = ? AND open = 1 ORDER BY create_time, id", [engine]);
  }

  ids(engine: string): string[] {
    return this.#ids("engine = ? ", [engine]);
  }

  old(engine: string, endedBefore: number, keep: number): string[] {
    const aged = this.#ids("engine = ? AND update_time < ? AND open = 0 ORDER BY update_time, id LIMIT ?", [
      engine,
      endedBefore,
      maxForgottenAtOnce,
    ]);
    if (aged.length > 0) return aged;
    return this.#ids("engine = ? AND open = 0 ORDER BY update_time DESC, id DESC LIMIT ? OFFSET ?", [
      engine,
      maxForgottenAtOnce,
      keep,
    ]);
  }

  steps(engine: string, ids: readonly string[]): StoredStep[] {
    return this.#db
      .prepare(
        `SELECT json FROM gate_step WHERE engine = ? AND run_id IN (SELECT value FROM json_each(?))
         ORDER BY run_id, position`,
      )
      .all(engine, JSON.stringify(ids))
      .map(({ json }) => JSON.parse(json as string) as StoredStep);
  }

  #runs(sql: string, values: readonly (string | number)[]): StoredRun[] {
    const statement = this.#db.prepare(`SELECT json FROM gate_run WHERE ${sql}`);
    return statement.all(...values).map(({ json }) => JSON.parse(json as string) as StoredRun);
  }

  #ids(sql: string, values: readonly (string | number)[]): string[] {
    const statement = this.#db.prepare(`SELECT id FROM gate_run WHERE ${sql}`);
    return statement.all(...values).map(({ id }) => id as string);
  }
}

interface Where {
  readonly sql: string;
  readonly values: (string | number)[];
}

function where(engine: string, filter: RunFilter): Where {
  const { sql, values } = condition(filter);
  return { sql: `engine = ? AND ${sql}`, values: [engine, ...values] };
}

function condition(filter: RunFilter): Where {
  const parts: string[] = [];
  const values: (string | number)[] = [];
  const add = (sql: string, ...own: (string | number)[]) => {
    parts.push(sql);
    values.push(...own);
  };
  const among = (column: string, list: readonly string[] | undefined) => {
    if (list) add(`${column} IN (SELECT value FROM json_each(?))`, JSON.stringify(list));
  };
  const begins = (column: string, prefix: string | undefined) => {
    if (prefix) add(`substr(${column}, 1, ?) = ?`, [...prefix].length, prefix);
  };
  among("status", filter.statuses);
  among("type", filter.types);
  among("id", filter.ids);
  if (filter.otherThan) add("id NOT IN (SELECT value FROM json_each(?))", JSON.stringify(filter.otherThan));
  begins("id", filter.idPrefix);
  begins("name", filter.namePrefix);
  if (filter.createdAfter) add("create_time >= ?", filter.createdAfter.getTime());
  if (filter.createdBefore) add("create_time < ?", filter.createdBefore.getTime());
  for (const [key, value] of Object.entries(filter.labels ?? {})) {
    add("EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.value = ?)", key, value);
  }
  if (filter.within) {
    const any = filter.within.map(condition);
    add(`(${any.map(({ sql }) => sql).join(" OR ") || "false"})`, ...any.flatMap((one) => one.values));
  }
  return { sql: parts.length === 0 ? "true" : `(${parts.join(" AND ")})`, values };
}
