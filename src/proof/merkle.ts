import { emptyRoot, hashBytes, nodeHash, sameHash } from "./hash.ts";
import { ProofError } from "./proof-error.ts";

/**
 * The front of a tree that grows (RFC 9162): the roots of its largest complete subtrees, from the left. It is all that is
 * needed to append, and to have the root.
 */
export class CompactRange {
  readonly #hashes: Uint8Array[];
  #size: number;

  /** @throws ProofError where these are not as many hashes as a tree of that size has complete subtrees. */
  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    if (!Number.isSafeInteger(size) || size < 0) throw new ProofError(`${size} is no size of a tree`);
    if (hashes.length !== ones(size)) {
      throw new ProofError(`a tree of ${size} leaves has ${ones(size)} complete subtrees, not ${hashes.length}`);
    }
    if (hashes.some((hash) => hash.length !== hashBytes)) throw new ProofError("a hash is not 32 bytes long");
    this.#size = size;
    this.#hashes = [...hashes];
  }

  get size(): number {
    return this.#size;
  }

  /** The complete subtrees' roots, the largest first. */
  get hashes(): readonly Uint8Array[] {
    return this.#hashes;
  }

  append(leaf: Uint8Array): void {
    let hash = leaf;
    for (let size = this.#size; size % 2 === 1; size = (size - 1) / 2) {
      hash = nodeHash(this.#hashes.pop() as Uint8Array, hash);
    }
    this.#hashes.push(hash);
    this.#size += 1;
  }

  root(): Uint8Array {
    return this.#hashes.length === 0 ? emptyRoot : this.#hashes.reduceRight((right, left) => nodeHash(left, right));
  }
}

/**
 * Proves that the leaf is the one at that index (from 0) of the tree with that size and root.
 *
 * @throws ProofError where it does not.
 */
export function verifyInclusion(
  leaf: { readonly index: number; readonly hash: Uint8Array },
  tree: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): void {
  const { index } = leaf;
  assertCount(index);
  assertCount(tree.size);
  assertHashes([leaf.hash, tree.root, ...proof]);
  if (index >= tree.size) throw new ProofError(`a tree of ${tree.size} leaves has none at index ${index}`);
  const path = new Path(index, tree.size - 1);
  let hash = leaf.hash;
  for (const sibling of proof) {
    hash = path.climb() === "right" ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  }
  path.assertAtRoot();
  if (!sameHash(hash, tree.root)) throw new ProofError(`the proof for index ${index} does not lead to the tree's root`);
}

/**
 * Proves that the second tree begins with all of the first, unchanged.
 *
 * @throws ProofError where it does not.
 */
export function verifyConsistency(
  first: { readonly size: number; readonly root: Uint8Array },
  second: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): void {
  assertCount(first.size);
  assertCount(second.size);
  assertHashes([first.root, second.root, ...proof]);
  if (first.size > second.size) throw new ProofError(`the tree has shrunk from ${first.size} leaves to ${second.size}`);
  if (first.size === 0 || first.size === second.size) {
    if (proof.length > 0) throw new ProofError("nothing is to be proved, but there is a proof");
    if (!sameHash(first.root, first.size === 0 ? emptyRoot : second.root)) {
      throw new ProofError(`two trees of ${first.size} leaves have different roots`);
    }
    return;
  }
  // Where the first tree is one complete subtree of the second, its root is known and not part of the proof.
  const [start, ...siblings] = ones(first.size) === 1 ? [first.root, ...proof] : proof;
  if (start === undefined || proof.length === 0) throw new ProofError("there is no proof");
  const path = new Path(first.size - 1, second.size - 1);
  path.skipCompleted();
  let [old, hash] = [start, start];
  for (const sibling of siblings) {
    if (path.climb() === "right") {
      old = nodeHash(sibling, old);
      hash = nodeHash(sibling, hash);
    } else {
      hash = nodeHash(hash, sibling);
    }
  }
  path.assertAtRoot();
  if (!sameHash(old, first.root)) throw new ProofError("the proof does not lead to the root of the first tree");
  if (!sameHash(hash, second.root)) throw new ProofError("the proof does not lead to the root of the second tree");
}

/** The way up from a node to the root, as RFC 9162 walks it: `fn` is the node's place on its level, `sn` that of the last. */
class Path {
  #fn: number;
  #sn: number;

  constructor(fn: number, sn: number) {
    this.#fn = fn;
    this.#sn = sn;
  }

  /** Up past the levels on which the node is a right one: these are within one complete subtree. */
  skipCompleted(): void {
    while (this.#fn % 2 === 1) this.#up();
  }

  /** One node up; says which child of it we come from. */
  climb(): "left" | "right" {
    if (this.#sn === 0) throw new ProofError("the proof is too long");
    const side = this.#fn % 2 === 1 || this.#fn === this.#sn ? "right" : "left";
    if (side === "right") while (this.#fn % 2 === 0 && this.#fn !== 0) this.#up();
    this.#up();
    return side;
  }

  assertAtRoot(): void {
    if (this.#sn !== 0) throw new ProofError("the proof is too short");
  }

  #up(): void {
    this.#fn = Math.floor(this.#fn / 2);
    this.#sn = Math.floor(this.#sn / 2);
  }
}

/** How many ones the number has in binary: how many complete subtrees a tree of that size consists of. */
export function ones(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

function assertCount(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new ProofError(`${value} is neither a size nor an index`);
}

function assertHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.some((hash) => hash.length !== hashBytes)) throw new ProofError("a hash is not 32 bytes long");
}
