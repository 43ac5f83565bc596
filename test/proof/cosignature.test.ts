import { expect, it } from "vitest";
import { cosigned, hasCosignature } from "../../src/proof/cosignature.ts";
import { parseNote } from "../../src/proof/note.ts";

const line = (name: string, bytes: number) => `— ${name} ${Buffer.alloc(bytes, name).toString("base64")}`;
const checkpoint = `log.example.com\n1\n${Buffer.alloc(32).toString("base64")}\n\n${line("log.example.com", 68)}\n`;

it("witnesses that sign at length leave a checkpoint that can be read", () => {
  let note = checkpoint;
  for (let witness = 0; witness < 10; witness++) {
    note = cosigned(
      note,
      [1, 2, 3, 4].map((n) => line(`w${witness}.example.com/${n}`, 3000)),
    );
    expect(hasCosignature(note)).toBe(true);
  }
  expect(parseNote(note).signatures.length).toBeGreaterThan(8);
});

it("witnesses that sign very often leave a checkpoint that can be read", () => {
  const lines = Array.from({ length: 100 }, (_, n) => line(`w.example.com/${n}`, 76));
  expect(cosigned(checkpoint, lines)).toBe(checkpoint);
});
