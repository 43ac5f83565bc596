import type { DatabaseSync } from "node:sqlite";

/** Tokens that are refused though they have not expired. Times in ms since the epoch. */
export interface Revocation {
  /** The exact issuer of the tokens. */
  readonly issuer: string;
  /** The one token's id; "" where it is about a subject. */
  readonly tokenId: string;
  /** Whose tokens; "" where it is about one token. */
  readonly subject: string;
  /** The subject's tokens that were issued before it; 0 where it is about one token. */
  readonly issuedBefore: number;
  readonly reason: string;
  /** The subject who revoked. */
  readonly revokedBy: string;
  readonly revokeTime: number;
  /** When no token that it keeps out can be alive any more: then it is forgotten. */
  readonly expireTime: number;
  /** The ledger entry of the intent to revoke. */
  readonly intentEntryId: string;
}

/** One row for each token and each subject: what is revoked again replaces what was. */
export const revocationSchema = `
  CREATE TABLE revocation (
    issuer      TEXT NOT NULL,
    token_id    TEXT NOT NULL,
    subject     TEXT NOT NULL,
    intent      TEXT NOT NULL,
    expire_time INTEGER NOT NULL,
    json        TEXT NOT NULL,
    PRIMARY KEY (issuer, token_id, subject),
    CHECK ((token_id = '') <> (subject = ''))
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX revocation_by_intent ON revocation (intent);
  CREATE INDEX revocation_by_expiry ON revocation (expire_time);
`;

const maxPrunedAtOnce = 10_000;

/** The revocations in a database, within whatever transaction is open. */
export class RevocationRows {
  readonly #put;
  readonly #all;
  readonly #ofIntent;
  readonly #prune;

  constructor(db: DatabaseSync) {
    this.#put = db.prepare(
      `INSERT INTO revocation (issuer, token_id, subject, intent, expire_time, json) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET intent = excluded.intent, expire_time = excluded.expire_time, json = excluded.json`,
    );
    this.#all = db.prepare("SELECT json FROM revocation ORDER BY issuer, token_id, subject");
    this.#ofIntent = db.prepare("SELECT json FROM revocation WHERE intent = ?");
    this.#prune = db.prepare(
      `DELETE FROM revocation WHERE (issuer, token_id, subject) IN
       (SELECT issuer, token_id, subject FROM revocation WHERE expire_time < ? LIMIT ${maxPrunedAtOnce})`,
    );
  }

  write(revocations: readonly Revocation[]): void {
    for (const one of revocations) {
      const { issuer, tokenId, subject, intentEntryId, expireTime } = one;
      this.#put.run(issuer, tokenId, subject, intentEntryId, expireTime, JSON.stringify(one));
    }
  }

  all(): Revocation[] {
    return this.#all.all().map(({ json }) => JSON.parse(json as string) as Revocation);
  }

  /** The one that the intent took effect as. */
  ofIntent(entryId: string): Revocation | undefined {
    const row = this.#ofIntent.get(entryId);
    return row && (JSON.parse(row.json as string) as Revocation);
  }

  /** Forgets those whose tokens have all expired by then, ms since the epoch. */
  prune(now: number): void {
    this.#prune.run(now);
  }
}
