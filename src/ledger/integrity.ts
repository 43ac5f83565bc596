import { setTimeout as delay } from "node:timers/promises";
import { MissionControlError } from "../errors.ts";
import type { Checkpoint } from "../proof/checkpoint.ts";
import { leafHash, sameHash } from "../proof/hash.ts";
import { ProofError } from "../proof/proof-error.ts";
import { decodeEntry } from "../proof/receipt.ts";
import type { Store, StoredEntry } from "../store/store.ts";
import { type MerkleTree, tileWidth } from "./tree.ts";

/** Tiles (of 256 entries) that are checked before the server takes calls; the older ones are checked while it serves. */
const tilesAtStart = 200;
/** While it serves: a tile about every so long (about 5 % of a core), and all of them again after that long, ms. */
const pace = { tileMs: 20, againMs: 24 * 60 * 60 * 1000 } as const;

/** The ledger as it is kept. */
export interface KeptLedger {
  readonly store: Store;
  readonly tree: MerkleTree;
  /** How many entries were pruned from the front. */
  pruned: number;
}

/**
 * Holds the store against checkpoints that were published: nothing may be missing, and nothing may be another. What was
 * checked of old entries before is checked again by `watchIntegrity`.
 *
 * @throws MissionControlError LEDGER_TAMPERED with what was found; LEDGER_UNAVAILABLE where the store cannot be read.
 */
export async function checkIntegrity(kept: KeptLedger, seen: readonly Checkpoint[]): Promise<void> {
  const { store, tree } = kept;
  const head = Number(store.head);
  const size = Math.max(tree.size, ...seen.map((checkpoint) => checkpoint.size));
  if (size > head) {
    throw tampered(
      `it was rolled back: it had ${size} entries when the last checkpoint was signed, and has ${head} now`,
    );
  }
  for (let before = -1; tree.size < size && tree.size !== before; ) {
    before = tree.size;
    await tree.grow(size);
  }
  for (const checkpoint of seen) {
    if (!sameHash(await tree.root(checkpoint.size), checkpoint.root)) {
      throw tampered(`its first ${checkpoint.size} entries are not those that a checkpoint was signed over`);
    }
  }
  const tiles = tree.tiles[0] ?? 0;
  for (let position = Math.max(0, tiles - tilesAtStart); position < tiles; position++) await checkTile(kept, position);
  await checkEntries(kept, tiles * tileWidth, head);
}

/** Checks all tiles with their entries over and over, slowly, until the signal. Rejects as `checkIntegrity` does. */
export async function watchIntegrity(kept: KeptLedger, signal: AbortSignal): Promise<void> {
  for (;;) {
    for (let position = 0; position < (kept.tree.tiles[0] ?? 0); position++) {
      await delay(pace.tileMs, undefined, { signal, ref: false });
      await checkTile(kept, position);
    }
    await delay(pace.againMs, undefined, { signal, ref: false });
  }
}

/** A tile of leaves is that of its entries, and fits into the tree; so does each tile above that it completes. */
async function checkTile(kept: KeptLedger, position: number): Promise<void> {
  const { tree } = kept;
  const { hashes, fits } = await tree.inspect(0, position);
  if (!fits)
    throw tampered(`the tree over entries ${position * tileWidth + 1} to ${(position + 1) * tileWidth} was edited`);
  await checkEntries(kept, position * tileWidth, (position + 1) * tileWidth, hashes);
  let above = position;
  for (let level = 1; (above + 1) % tileWidth === 0; level++) {
    above = (above + 1) / tileWidth - 1;
    if (above >= (tree.tiles[level] ?? 0) || !(await tree.inspect(level, above)).fits) {
      throw tampered(`the tree over the first ${(position + 1) * tileWidth} entries was edited`);
    }
  }
}

/** The entries behind `after`, up to `end`: all there, each in its place, with the hashes given for them. */
async function checkEntries(
  kept: KeptLedger,
  after: number,
  end: number,
  hashes?: readonly Uint8Array[],
): Promise<void> {
  let last = Math.max(after, kept.pruned);
  while (last < end) {
    const entries = await kept.store.storedEntries(BigInt(last), Math.min(tileWidth, end - last));
    for (const entry of entries) {
      if (Number(entry.sequence) !== last + 1) break;
      checkEntry(entry, hashes?.[last - after]);
      last += 1;
    }
    if (Number(entries.at(-1)?.sequence ?? 0) !== last) throw tampered(`entry ${last + 1} is missing`);
  }
}

function checkEntry(entry: StoredEntry, expected: Uint8Array | undefined): void {
  if (expected !== undefined && !sameHash(leafHash(entry.bytes), expected)) {
    throw tampered(`entry ${entry.sequence} was edited`);
  }
  try {
    if (decodeEntry(entry.bytes).sequence === entry.sequence) return;
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
  }
  throw tampered(`entry ${entry.sequence} is not what it is kept as`);
}

function tampered(found: string): MissionControlError {
  return new MissionControlError("LEDGER_TAMPERED", found);
}
