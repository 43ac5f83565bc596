/** What the proofs over the ledger keep in a store. Every method rejects with LEDGER_UNAVAILABLE where it cannot. */
export interface ProofStore {
  /** How many complete tiles there are on each level, from 0 on. */
  tileCounts(): Promise<number[]>;
  /** 256 hashes, one behind the other: of leaves on level 0, of the roots of the tiles one level below on those above. */
  tile(level: number, position: number): Promise<Uint8Array | undefined>;
  /** Keeps a checkpoint, with the tiles that became complete, in one transaction. Of each day only the last one stays. */
  putCheckpoint(checkpoint: StoredCheckpoint, tiles: readonly Tile[]): Promise<void>;
  /** The checkpoint that was kept last. */
  lastCheckpoint(): Promise<StoredCheckpoint | undefined>;
  /** Keeps a signed note of the log's own for good. */
  putNote(kind: NoteKind, note: string, time: number): Promise<void>;
  /** All notes of that kind, the oldest first. */
  notes(kind: NoteKind): Promise<string[]>;
  /** Throws the tiles away that have to do with entries behind that sequence, so that they are made anew from these. */
  clearTiles(after: number): Promise<void>;
}

export type NoteKind = "rotation" | "pruning" | "acknowledgement";

/** 256 hashes of the tree, complete. */
export interface Tile {
  readonly level: number;
  /** From 0. */
  readonly position: number;
  readonly hashes: Uint8Array;
}

export interface StoredCheckpoint {
  /** How many entries it covers. */
  readonly size: number;
  /** The C2SP signed note. */
  readonly note: string;
  /** When it was signed, ms since the epoch. */
  readonly time: number;
}
