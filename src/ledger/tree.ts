import { LRUCache } from "lru-cache";
import { MissionControlError } from "../errors.ts";
import { emptyRoot, hashBytes, leafHash, nodeHash, sameHash } from "../proof/hash.ts";
import { CompactRange } from "../proof/merkle.ts";
import type { Tile } from "../store/proof-store.ts";
import type { Store } from "../store/store.ts";

/** Hashes of a tile: 256, the roots of as many subtrees of one size (C2SP tlog-tiles). */
export const tileWidth = 256;
const tileHeight = 8;
/** Tiles that are kept at hand: 8 MiB. */
const cachedTiles = 1024;
/** Entries that are read at once. */
const pageSize = 500;

/** What the tree reads. */
type TreeStore = Pick<Store, "storedEntries" | "proofs">;

/**
 * The Merkle tree over the ledger's entries (RFC 9162), entry n at index n − 1. Its complete tiles are in the store, so that
 * a root or a proof reads a few of them whatever the ledger's size; what is not complete is in memory, and comes from the
 * entries at the start. It is made from the entries' bytes and from nothing else.
 */
export class MerkleTree {
  readonly #store: TreeStore;
  readonly #cache = new LRUCache<string, Uint8Array>({ max: cachedTiles });
  /** How many tiles of each level are complete. */
  readonly #complete: number[] = [];
  /** Of each level the hashes behind its last complete tile. */
  readonly #open: Uint8Array[][] = [];
  /** Complete, and not in the store yet. */
  readonly #unsaved = new Map<string, Tile>();
  #size = 0;

  private constructor(store: TreeStore) {
    this.#store = store;
  }

  /** The tree as far as its tiles go; `grow` takes it on. Rejects with LEDGER_UNAVAILABLE where the store cannot be read. */
  static async open(store: TreeStore): Promise<MerkleTree> {
    const tree = new MerkleTree(store);
    tree.#complete.push(...(await store.proofs.tileCounts()));
    tree.#size = (tree.#complete[0] ?? 0) * tileWidth;
    for (const [below, count] of tree.#complete.entries()) {
      const first = (tree.#complete[below + 1] ?? 0) * tileWidth;
      const hashes: Uint8Array[] = [];
      for (let position = first; position < count; position++) {
        hashes.push(rootOf(split(await tree.#tile(below, position))));
      }
      tree.#open[below + 1] = hashes;
    }
    tree.#open[0] = [];
    return tree;
  }

  /** How many leaves it has. */
  get size(): number {
    return this.#size;
  }

  /** Takes the entries behind its last leaf, up to that sequence, but no more than a page; returns its new size. */
  async grow(upTo: number): Promise<number> {
    const entries = await this.#store.storedEntries(BigInt(this.#size), Math.min(pageSize, upTo - this.#size));
    for (const { sequence, bytes } of entries) {
      if (Number(sequence) !== this.#size + 1) {
        throw new MissionControlError("LEDGER_TAMPERED", `entry ${this.#size + 1} is missing from the ledger`);
      }
      this.#append(0, leafHash(bytes));
      this.#size += 1;
    }
    return this.#size;
  }

  /** Tiles that are to be put into the store; they stay at hand until `saved`. */
  unsaved(): Tile[] {
    return [...this.#unsaved.values()];
  }

  /** These are in the store. */
  saved(tiles: readonly Tile[]): void {
    for (const { level, position } of tiles) this.#unsaved.delete(`${level}/${position}`);
  }

  /** The root of the tree of the first `size` leaves. */
  async root(size = this.#size): Promise<Uint8Array> {
    this.#assertWithin(size);
    return size === 0 ? emptyRoot : this.#subtree(0, size);
  }

  /** The front of the tree of the first `size` leaves. */
  async range(size: number): Promise<CompactRange> {
    this.#assertWithin(size);
    const hashes: Uint8Array[] = [];
    for (let start = 0; start < size; ) {
      const width = largestPower(size - start);
      hashes.push(await this.#subtree(start, start + width));
      start += width;
    }
    return new CompactRange(size, hashes);
  }

  /** The proof that the leaf at that index is in the tree of the first `size` leaves. */
  async inclusionProof(index: number, size: number): Promise<Uint8Array[]> {
    this.#assertWithin(size);
    const path = async (start: number, end: number): Promise<Uint8Array[]> => {
      if (end - start === 1) return [];
      const middle = start + splitOf(end - start);
      return index < middle
        ? [...(await path(start, middle)), await this.#subtree(middle, end)]
        : [...(await path(middle, end)), await this.#subtree(start, middle)];
    };
    return path(0, size);
  }

  /** The proof that the tree of the first `first` leaves is the beginning of the tree of the first `second` ones. */
  async consistencyProof(first: number, second: number): Promise<Uint8Array[]> {
    this.#assertWithin(second);
    if (first === 0 || first === second) return [];
    const path = async (start: number, end: number, known: boolean): Promise<Uint8Array[]> => {
      if (first === end) return known ? [] : [await this.#subtree(start, end)];
      const middle = start + splitOf(end - start);
      return first <= middle
        ? [...(await path(start, middle, known)), await this.#subtree(middle, end)]
        : [...(await path(middle, end, false)), await this.#subtree(start, middle)];
    };
    return path(0, second, true);
  }

  /** How many tiles of each level are complete, from level 0 on. */
  get tiles(): readonly number[] {
    return this.#complete;
  }

  /** The hashes of a complete tile as kept, and whether the level above keeps their root. */
  async inspect(level: number, position: number): Promise<{ hashes: Uint8Array[]; fits: boolean }> {
    const hashes = split((await this.#store.proofs.tile(level, position)) ?? (await this.#tile(level, position)));
    const above = await this.#completeSubtree(tileHeight * (level + 1), position);
    return { hashes, fits: sameHash(rootOf(hashes), above) };
  }

  #append(level: number, hash: Uint8Array): void {
    const open = this.#open[level] ?? [];
    this.#open[level] = open;
    open.push(hash);
    if (open.length < tileWidth) return;
    const position = this.#complete[level] ?? 0;
    const hashes = Buffer.concat(open);
    this.#unsaved.set(`${level}/${position}`, { level, position, hashes });
    this.#complete[level] = position + 1;
    this.#open[level] = [];
    this.#append(level + 1, rootOf(open));
  }

  /** The root over the leaves from `start` to before `end`: these begin where a subtree of their size does. */
  async #subtree(start: number, end: number): Promise<Uint8Array> {
    const count = end - start;
    if (largestPower(count) === count) return this.#completeSubtree(Math.round(Math.log2(count)), start / count);
    const middle = start + splitOf(count);
    return nodeHash(await this.#subtree(start, middle), await this.#subtree(middle, end));
  }

  /** The root of a complete subtree of 2^height leaves, the one at that index among its like. */
  async #completeSubtree(height: number, index: number): Promise<Uint8Array> {
    const level = Math.floor(height / tileHeight);
    const count = 2 ** (height % tileHeight);
    const first = index * count;
    const position = Math.floor(first / tileWidth);
    const within = position < (this.#complete[level] ?? 0);
    const hashes = within ? split(await this.#tile(level, position)) : (this.#open[level] ?? []);
    return rootOf(hashes.slice(first % tileWidth, (first % tileWidth) + count));
  }

  async #tile(level: number, position: number): Promise<Uint8Array> {
    const key = `${level}/${position}`;
    const known = this.#unsaved.get(key)?.hashes ?? this.#cache.get(key);
    if (known !== undefined) return known;
    const hashes = await this.#store.proofs.tile(level, position);
    if (hashes === undefined) {
      throw new MissionControlError("LEDGER_TAMPERED", `tile ${key} of the ledger's tree is missing`);
    }
    this.#cache.set(key, hashes);
    return hashes;
  }

  #assertWithin(size: number): void {
    if (size > this.#size) throw new RangeError(`the tree has ${this.#size} leaves, not ${size}`);
  }
}

/** The root over 2^n hashes. */
function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  let level = hashes;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let n = 0; n < level.length; n += 2) above.push(nodeHash(level[n] as Uint8Array, level[n + 1] as Uint8Array));
    level = above;
  }
  return level[0] as Uint8Array;
}

function split(tile: Uint8Array): Uint8Array[] {
  return Array.from({ length: tileWidth }, (_, n) => tile.subarray(n * hashBytes, (n + 1) * hashBytes));
}

/** The largest power of two that is not larger. */
function largestPower(count: number): number {
  return 2 ** Math.floor(Math.log2(count));
}

/** Where RFC 9162 splits a tree of `count` leaves: the largest power of two that is smaller. */
function splitOf(count: number): number {
  const power = largestPower(count);
  return power === count ? power / 2 : power;
}
