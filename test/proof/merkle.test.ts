import { readFileSync } from "node:fs";
import { expect, it, test } from "vitest";
import { leafHash } from "../../src/proof/hash.ts";
import { CompactRange, verifyConsistency, verifyInclusion } from "../../src/proof/merkle.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { python, vectorFile } from "./python.ts";
import { leaves, roots } from "./reference.ts";

/** As the public vectors of transparency-dev/merkle are written; hashes in base64. */
interface Vector {
  readonly desc: string;
  readonly proof: readonly string[];
  readonly wantErr: boolean;
}

interface InclusionVector extends Vector {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly leafHash: string;
  readonly root: string;
}

interface ConsistencyVector extends Vector {
  readonly size1: number;
  readonly size2: number;
  readonly root1: string;
  readonly root2: string;
}

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const root = (size: number) => roots[size] as Uint8Array;
const vectors = <T extends Vector>(name: string) => JSON.parse(readFileSync(vectorFile(name), "utf8")) as T[];

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

const told = (desc: string, wantErr: boolean) => `${desc} ${wantErr ? "does not verify" : "verifies"}`;

it.each(vectors<InclusionVector>("inclusion").map((vector) => [told(vector.desc, vector.wantErr), vector] as const))(
  "the inclusion of %s",
  (_, { leafIdx: index, treeSize: size, leafHash: hash, root: top, proof, wantErr }) => {
    const verify = () => verifyInclusion({ index, hash: bytes(hash) }, { size, root: bytes(top) }, proof.map(bytes));
    if (wantErr) expect(verify).toThrow(ProofError);
    else expect(verify).not.toThrow();
  },
);

it.each(
  vectors<ConsistencyVector>("consistency").map((vector) => [told(vector.desc, vector.wantErr), vector] as const),
)("the consistency of %s", (_, { size1, size2, root1, root2, proof, wantErr }) => {
  const [one, two] = [
    { size: size1, root: bytes(root1) },
    { size: size2, root: bytes(root2) },
  ];
  const verify = () => verifyConsistency(one, two, proof.map(bytes));
  if (wantErr) expect(verify).toThrow(ProofError);
  else expect(verify).not.toThrow();
});

it.each(["inclusion", "consistency"])("the Python verifier comes to the same about every %s vector", async (name) => {
  const { code, stdout } = await python(["vectors", vectorFile(name)]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ vectors: vectors(name).length, wrong: [] });
});
