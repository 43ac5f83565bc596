import type { DatabaseSync, StatementSync } from "node:sqlite";

/** A token that gates attach with: all but the token itself. Times in ms since the epoch. */
export interface GateToken {
  readonly gateTokenId: string;
  /** No two that are not revoked have the same. */
  readonly name: string;
  /** The only engine that gates may attach for with it. */
  readonly engine: string;
  readonly createTime: number;
  readonly createdBy: string;
  /** Undefined: only when it is revoked. */
  readonly expireTime: number | undefined;
  /** Undefined: it was not. */
  readonly revokeTime: number | undefined;
  readonly revokedBy: string;
  /** The intents to make it and to revoke it; "" where there was none. */
  readonly createEntryId: string;
  readonly revokeEntryId: string;
}

/** A token as it is stored: with the SHA-256 of its secret. */
export interface StoredGateToken extends GateToken {
  readonly hash: Uint8Array;
}

/** Listed at the most. */
const maxListed = 1000;

export const gateTokenSchema = `
  CREATE TABLE gate_token (
    position      INTEGER PRIMARY KEY,
    gate_token_id TEXT NOT NULL UNIQUE,
    hash          BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    name          TEXT NOT NULL,
    revoked       INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    json          TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX gate_token_by_name ON gate_token (name) WHERE revoked = 0;
  `;

/** The rows of the gate tokens; to be used within the transactions and reads of the store. */
export class GateTokenRows {
  readonly #put: StatementSync;
  readonly #byHash: StatementSync;
  readonly #byId: StatementSync;
  readonly #ofIntent: StatementSync;
  readonly #list: StatementSync;

  constructor(db: DatabaseSync) {
    this.#put = db.prepare(
      `INSERT INTO gate_token (gate_token_id, hash, name, revoked, json) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (gate_token_id) DO UPDATE SET revoked = excluded.revoked, json = excluded.json`,
    );
    this.#byHash = db.prepare("SELECT hash, json FROM gate_token WHERE hash = ?");
    this.#byId = db.prepare("SELECT hash, json FROM gate_token WHERE gate_token_id = ?");
    this.#ofIntent = db.prepare(
      "SELECT hash, json FROM gate_token WHERE json ->> 'createEntryId' = ? OR json ->> 'revokeEntryId' = ?",
    );
    this.#list = db.prepare("SELECT hash, json FROM gate_token WHERE revoked <= ? ORDER BY position DESC LIMIT ?");
  }

  write(tokens: readonly StoredGateToken[]): void {
    for (const { hash, ...rest } of tokens) {
      const revoked = rest.revokeTime === undefined ? 0 : 1;
      this.#put.run(rest.gateTokenId, hash, rest.name, revoked, JSON.stringify(rest));
    }
  }

  get(gateTokenId: string): StoredGateToken | undefined {
    return toToken(this.#byId.get(gateTokenId));
  }

  byHash(hash: Uint8Array): StoredGateToken | undefined {
    return toToken(this.#byHash.get(hash));
  }

  ofIntent(entryId: string): StoredGateToken | undefined {
    // Those that dev mode makes for itself have no intent.
    return entryId === "" ? undefined : toToken(this.#ofIntent.get(entryId, entryId));
  }

  list(includeRevoked: boolean): StoredGateToken[] {
    return this.#list.all(includeRevoked ? 1 : 0, maxListed).map((row) => toToken(row) as StoredGateToken);
  }
}

function toToken(row: Record<string, unknown> | undefined): StoredGateToken | undefined {
  if (row === undefined) return undefined;
  // JSON has no undefined: what is not there reads as such.
  return { ...(JSON.parse(row.json as string) as GateToken), hash: row.hash as Uint8Array };
}
