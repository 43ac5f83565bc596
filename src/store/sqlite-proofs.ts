import type { DatabaseSync } from "node:sqlite";
import type { NoteKind, ProofStore } from "./proof-store.ts";

const dayMs = 24 * 60 * 60 * 1000;

/**
 * The proofs' tables in the database of the embedded store.
 *
 * @param told turns what SQLite threw into what callers are told.
 */
export function sqliteProofs(db: DatabaseSync, told: (error: unknown) => Error): ProofStore {
  const sql = {
    tileCounts: db.prepare("SELECT level, max(position) + 1 AS count FROM tile GROUP BY level ORDER BY level"),
    tile: db.prepare("SELECT hashes FROM tile WHERE level = ? AND position = ?"),
    putTile: db.prepare("INSERT INTO tile (level, position, hashes) VALUES (?, ?, ?)"),
    // A tile of level n is over 256^(n+1) entries.
    clearTiles: db.prepare("DELETE FROM tile WHERE ((position + 1) << (8 * (level + 1))) > ?"),
    lastCheckpoint: db.prepare("SELECT size, note, time FROM checkpoint ORDER BY day DESC LIMIT 1"),
    // A clock that is set back does not bring an older checkpoint to the front.
    putCheckpoint: db.prepare(
      `INSERT INTO checkpoint (day, size, note, time) VALUES (max(?, (SELECT coalesce(max(day), 0) FROM checkpoint)), ?, ?, ?)
       ON CONFLICT (day) DO UPDATE SET size = excluded.size, note = excluded.note, time = excluded.time`,
    ),
    putNote: db.prepare("INSERT INTO log_note (kind, note, time) VALUES (?, ?, ?)"),
    notes: db.prepare("SELECT note FROM log_note WHERE kind = ? ORDER BY position"),
  };

  async function run<T>(query: () => T): Promise<T> {
    try {
      return query();
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw told(error);
    }
  }

  return {
    tileCounts: () => run(() => sql.tileCounts.all().map(({ count }) => Number(count))),
    tile: (level, position) => run(() => sql.tile.get(level, position)?.hashes as Uint8Array | undefined),
    putCheckpoint: ({ size, note, time }, tiles) =>
      run(() => {
        db.exec("BEGIN IMMEDIATE");
        for (const { level, position, hashes } of tiles) sql.putTile.run(level, position, hashes);
        sql.putCheckpoint.run(Math.floor(time / dayMs), size, note, time);
        db.exec("COMMIT");
      }),
    lastCheckpoint: () =>
      run(() => {
        const row = sql.lastCheckpoint.get();
        return row && { size: Number(row.size), note: String(row.note), time: Number(row.time) };
      }),
    putNote: (kind: NoteKind, note, time) => run(() => void sql.putNote.run(kind, note, time)),
    notes: (kind) => run(() => sql.notes.all(kind).map(({ note }) => String(note))),
    clearTiles: (after) => run(() => void sql.clearTiles.run(after)),
  };
}
