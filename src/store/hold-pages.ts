import { hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import type { Brake, Held, Hold } from "./brake.ts";
import { type HoldRow, isSettledRow, packRows, toHolds, toRows, unpackRows } from "./hold-row.ts";

/** Holds in one row of the database: enough to make a row of its own for each of ten thousand needless, few to write for one. */
const pageSize = 100;
/** Workflows that one statement inserts. */
const workflowsAtOnce = 16;
const maxHoldsPerWorkflow = 1000;

/** In which page it is found that a workflow is held, by the position of the page. */
interface HeldWorkflow {
  readonly key: number;
  readonly page: number;
}

/** Pages are found by it. Workflows may share one. */
export function workflowKey(workflowId: string): number {
  return Number.parseInt(hash("sha256", workflowId).slice(0, 12), 16);
}

/** Asks for `workflow_key`, which is the function above. */
export const holdPageSchema = `
  CREATE TABLE hold_page (
    position  INTEGER PRIMARY KEY,
    brake     INTEGER NOT NULL REFERENCES brake (position),
    page      INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    holds     TEXT NOT NULL,
    UNIQUE (brake, page)
  ) STRICT;
  CREATE INDEX hold_page_unsettled ON hold_page (brake) WHERE unsettled > 0;
  CREATE TABLE held_workflow (
    key  INTEGER NOT NULL,
    page INTEGER NOT NULL,
    PRIMARY KEY (key, page)
  ) STRICT, WITHOUT ROWID;

  CREATE TEMP TABLE old_hold AS
    SELECT hold.position, brake.position AS brake, hold.workflow_id, hold.settled, hold.json,
      coalesce(hold.json ->> '$.order', 0) AS place, hold.json ->> '$.catchTime' AS caught
    FROM hold JOIN brake USING (brake_id) ORDER BY hold.position;
  INSERT INTO hold_page (brake, page, unsettled, holds)
    SELECT brake, place / ${pageSize}, sum(1 - settled), json_group_array(json_array(
      workflow_id,
      json_object('traits', json -> '$.traits', 'name', json ->> '$.name') || '',
      place,
      caught,
      json ->> '$.caughtThrough',
      (json ->> '$.late') + 2 * (json ->> '$.ended') + 4 * (json ->> '$.halt.foundPaused')
        + 8 * (json ->> '$.halt.pausePending') + 16 * settled
        + 32 * coalesce(json ->> '$.missed', 0),
      (json ->> '$.halt.requestTime') - caught,
      (json ->> '$.halt.acceptTime') - caught,
      (json ->> '$.halt.standstillTime') - caught,
      (json ->> '$.halt.releaseTime') - caught,
      json -> '$.halt.steps'
    ) ORDER BY position) FROM old_hold GROUP BY 1, 2;
  INSERT INTO held_workflow (key, page)
    SELECT DISTINCT workflow_key(workflow_id), hold_page.position
    FROM old_hold JOIN hold_page ON hold_page.brake = old_hold.brake AND page = place / ${pageSize};
  DROP TABLE old_hold;
  DROP TABLE hold;
`;

/**
 * The holds of all brakes, in SQLite: a brake's pages of them, in the order in which they were caught. A change of very many
 * is a change of few rows.
 */
export class HoldPages {
  readonly #sql;

  constructor(db: DatabaseSync) {
    const insertWorkflows = (rows: number) =>
      db.prepare(
        `INSERT INTO held_workflow (key, page) VALUES ${Array(rows).fill("(?, ?)").join(", ")} ON CONFLICT DO NOTHING`,
      );
    this.#sql = {
      position: db.prepare("SELECT position FROM brake WHERE brake_id = ?"),
      page: db.prepare("SELECT holds FROM hold_page WHERE brake = ? AND page = ?"),
      putPage: db.prepare(
        `INSERT INTO hold_page (brake, page, unsettled, holds) VALUES (?, ?, ?, ?)
         ON CONFLICT (brake, page) DO UPDATE SET unsettled = excluded.unsettled, holds = excluded.holds
         RETURNING position`,
      ),
      insertWorkflow: insertWorkflows(1),
      insertWorkflows: insertWorkflows(workflowsAtOnce),
      ofBrake: db.prepare(
        `SELECT holds FROM hold_page WHERE brake = (SELECT position FROM brake WHERE brake_id = ?) ORDER BY page`,
      ),
      onWorkflow: db.prepare(
        `SELECT brake.json AS brake, holds FROM held_workflow JOIN hold_page ON hold_page.position = held_workflow.page
         JOIN brake ON brake.position = hold_page.brake
         WHERE key = ? ORDER BY brake.position DESC LIMIT ${maxHoldsPerWorkflow}`,
      ),
    };
  }

  /** Inserts or replaces, within the transaction that is open. */
  write(changes: readonly Hold[]): void {
    const added: HeldWorkflow[] = [];
    for (const [brakeId, holds] of Map.groupBy(changes, (hold) => hold.brakeId)) {
      const brake = Number(this.#sql.position.get(brakeId)?.position ?? Number.NaN);
      if (Number.isNaN(brake)) throw new Error(`there is no brake ${brakeId} to hold anything`);
      for (const [page, changed] of Map.groupBy(toRows(holds), ([, , order]) => Math.trunc(order / pageSize))) {
        const before = this.#sql.page.get(brake, page);
        const rows = new Map(before && unpackRows(before.holds as string).map((row) => [row[0], row]));
        const known = new Set(rows.keys());
        for (const row of changed) rows.set(row[0], row);
        const all = [...rows.values()];
        const unsettled = all.reduce((count, row) => count + (isSettledRow(row) ? 0 : 1), 0);
        const position = Number(this.#sql.putPage.get(brake, page, unsettled, packRows(all))?.position);
        for (const [id] of changed) if (!known.has(id)) added.push({ key: workflowKey(id), page: position });
      }
    }
    this.#index(added);
  }

  /** All of a brake, in the order in which they were caught. */
  of(brakeId: string): Hold[] {
    const rows = this.#sql.ofBrake.all(brakeId).flatMap(({ holds }): HoldRow[] => unpackRows(holds as string));
    return toHolds(brakeId, rows);
  }

  /** All on a workflow, with their brakes, the oldest first. */
  on(workflowId: string): Held[] {
    const found = this.#sql.onWorkflow.all(workflowKey(workflowId)).flatMap(({ brake: json, holds }): Held[] => {
      const brake = JSON.parse(json as string) as Brake;
      const own = unpackRows(holds as string).filter(([id]) => id === workflowId);
      return toHolds(brake.brakeId, own).map((hold) => ({ brake, hold }));
    });
    return found.reverse();
  }

  /** In the order of the keys, so that each page of the index is written once. */
  #index(added: HeldWorkflow[]): void {
    const values = added.sort((a, b) => a.key - b.key).flatMap(({ key, page }) => [key, page]);
    let at = 0;
    for (; at + 2 * workflowsAtOnce <= values.length; at += 2 * workflowsAtOnce) {
      this.#sql.insertWorkflows.run(...values.slice(at, at + 2 * workflowsAtOnce));
    }
    for (; at < values.length; at += 2) this.#sql.insertWorkflow.run(...values.slice(at, at + 2));
  }
}
