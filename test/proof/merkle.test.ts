import { describe, expect, it, test } from "vitest";
import { leafHash } from "../../src/proof/hash.ts";
import { CompactRange, verifyConsistency, verifyInclusion } from "../../src/proof/merkle.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { consistencyProofs, inclusionProofs, leaves, roots } from "./reference.ts";

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));
const root = (size: number) => roots[size] as Uint8Array;
const leaf = (index: number) => leafHash(leaves[index] as Uint8Array);

test("a compact range has the reference tree's roots at every size, and goes on from any of them", () => {
  const range = new CompactRange();
  expect(range.root()).toEqual(Buffer.from(root(0)));
  for (const [index, one] of leaves.entries()) {
    range.append(leafHash(one));
    expect(Buffer.from(range.root()).toString("hex")).toBe(Buffer.from(root(index + 1)).toString("hex"));
    const rest = new CompactRange(range.size, range.hashes);
    for (const later of leaves.slice(index + 1)) rest.append(leafHash(later));
    expect(Buffer.compare(rest.root(), root(8))).toBe(0);
  }
});

describe.each(inclusionProofs)(
  "the inclusion proof of leaf $index in a tree of $size",
  ({ index, size, proof: hex }) => {
    const proof = hex.map(bytes);
    const hash = leaf(index);
    const tree = { size, root: root(size) };

    it("verifies", () => {
      expect(() => verifyInclusion({ index, hash }, tree, proof)).not.toThrow();
    });

    const wrong: Record<string, () => void> = {
      "another index before": () => verifyInclusion({ index: index - 1, hash }, tree, proof),
      "another index behind": () => verifyInclusion({ index: index + 1, hash }, tree, proof),
      "an index of other bits": () => verifyInclusion({ index: index ^ 2, hash }, tree, proof),
      "an index beyond the tree": () => verifyInclusion({ index: index + size, hash }, tree, proof),
      "twice the size": () => verifyInclusion({ index, hash }, { ...tree, size: size * 2 }, proof),
      "half the size": () => verifyInclusion({ index, hash }, { ...tree, size: Math.floor(size / 2) }, proof),
      "no size": () => verifyInclusion({ index, hash }, { ...tree, size: 0 }, proof),
      "another root": () => verifyInclusion({ index, hash }, { ...tree, root: flipped(tree.root) }, proof),
      "no root": () => verifyInclusion({ index, hash }, { ...tree, root: new Uint8Array() }, proof),
      "another leaf": () => verifyInclusion({ index, hash: flipped(hash) }, tree, proof),
      "no leaf": () => verifyInclusion({ index, hash: new Uint8Array() }, tree, proof),
      "garbage behind": () => verifyInclusion({ index, hash }, tree, [...proof, new Uint8Array(32)]),
      "the root behind": () => verifyInclusion({ index, hash }, tree, [...proof, tree.root]),
      "garbage before": () => verifyInclusion({ index, hash }, tree, [new Uint8Array(32), ...proof]),
      "the root before": () => verifyInclusion({ index, hash }, tree, [tree.root, ...proof]),
      "an empty hash behind": () => verifyInclusion({ index, hash }, tree, [...proof, new Uint8Array()]),
    };
    // In a tree of one leaf, the leaf is the root and there is nothing to leave out.
    if (size > 1) {
      wrong["a proof cut short"] = () => verifyInclusion({ index, hash }, tree, proof.slice(0, -1));
      wrong["a proof without its beginning"] = () => verifyInclusion({ index, hash }, tree, proof.slice(1));
      wrong["no proof"] = () => verifyInclusion({ index, hash }, tree, []);
      wrong["the leaf as the root"] = () => verifyInclusion({ index, hash }, { ...tree, root: hash }, proof);
    }
    for (const at of proof.keys()) {
      wrong[`hash ${at} with another bit`] = () =>
        verifyInclusion({ index, hash }, tree, proof.with(at, flipped(proof[at] as Uint8Array)));
    }
    it.each(Object.entries(wrong))("with %s does not", (_, verify) => {
      expect(verify).toThrow(ProofError);
    });
  },
);

describe.each(consistencyProofs)(
  "the consistency proof from $first to $second leaves",
  ({ first, second, proof: hex }) => {
    const proof = hex.map(bytes);
    const one = { size: first, root: root(first) };
    const two = { size: second, root: root(second) };

    it("verifies", () => {
      expect(() => verifyConsistency(one, two, proof)).not.toThrow();
    });

    const wrong: Record<string, () => void> = {
      "a first size before": () => verifyConsistency({ ...one, size: first - 1 }, two, proof),
      "a first size behind": () => verifyConsistency({ ...one, size: first + 1 }, two, proof),
      "a first size of other bits": () => verifyConsistency({ ...one, size: first ^ 2 }, two, proof),
      "twice the second size": () => verifyConsistency(one, { ...two, size: second * 2 }, proof),
      "half the second size": () => verifyConsistency(one, { ...two, size: Math.floor(second / 2) }, proof),
      "another first root": () => verifyConsistency({ ...one, root: flipped(one.root) }, two, proof),
      "another second root": () => verifyConsistency(one, { ...two, root: flipped(two.root) }, proof),
      "no roots": () =>
        verifyConsistency({ ...one, root: new Uint8Array() }, { ...two, root: new Uint8Array() }, proof),
      "garbage behind": () => verifyConsistency(one, two, [...proof, new Uint8Array(32)]),
      "the first root behind": () => verifyConsistency(one, two, [...proof, one.root]),
      "the second root behind": () => verifyConsistency(one, two, [...proof, two.root]),
      "garbage before": () => verifyConsistency(one, two, [new Uint8Array(32), ...proof]),
      "the first root before": () => verifyConsistency(one, two, [one.root, ...proof]),
      "the second root before": () => verifyConsistency(one, two, [two.root, ...proof]),
    };
    if (first < second) {
      wrong["the trees swapped"] = () => verifyConsistency(two, one, proof);
      wrong["the roots swapped"] = () =>
        verifyConsistency({ ...one, root: two.root }, { ...two, root: one.root }, proof);
      wrong["a proof cut short"] = () => verifyConsistency(one, two, proof.slice(0, -1));
      wrong["a proof without its beginning"] = () => verifyConsistency(one, two, proof.slice(1));
      wrong["no proof"] = () => verifyConsistency(one, two, []);
    }
    for (const at of proof.keys()) {
      wrong[`hash ${at} with another bit`] = () =>
        verifyConsistency(one, two, proof.with(at, flipped(proof[at] as Uint8Array)));
    }
    it.each(Object.entries(wrong))("with %s does not", (_, verify) => {
      expect(verify).toThrow(ProofError);
    });
  },
);

test("every tree begins with the empty one, and that has one root only", () => {
  expect(() => verifyConsistency({ size: 0, root: root(0) }, { size: 5, root: root(5) }, [])).not.toThrow();
  expect(() => verifyConsistency({ size: 0, root: root(1) }, { size: 5, root: root(5) }, [])).toThrow(ProofError);
  expect(() => verifyConsistency({ size: 0, root: root(0) }, { size: 5, root: root(5) }, [root(5)])).toThrow(
    ProofError,
  );
});

function flipped(hash: Uint8Array): Uint8Array {
  const other = new Uint8Array(hash);
  other[4] = (other[4] ?? 0) ^ 0x10;
  return other;
}
