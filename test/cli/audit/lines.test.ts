import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { linesOf } from "../../../src/cli/audit/lines.ts";
import { python } from "../../proof/python.ts";
import { temporaryFolder } from "../run.ts";

const key = "log+5d68977d+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async function read(bytes: Uint8Array) {
  const path = join(temporaryFolder(), "ledger.jsonl");
  writeFileSync(path, bytes);
  const lines = [];
  for await (const line of linesOf(path)) lines.push(line);
  return { path, lines };
}

test("each line comes with where it ends, in bytes, and whether it is whole; nothing of it is lost", async () => {
  const { lines } = await read(Buffer.from("\ufeffone\nzwei äöü\n\ncut off"));
  expect(lines).toEqual([
    { text: "\ufeffone", end: 7, isWhole: true },
    { text: "zwei äöü", end: 19, isWhole: true },
    { text: "", end: 20, isWhole: true },
    { text: "cut off", end: 27, isWhole: false },
  ]);
});

test("a byte that is no character is not read as the one that stands for such: neither here nor by the script", async () => {
  const good = Buffer.from('{"reason":"what came as \ufffd"}\n');
  expect((await read(good)).lines).toHaveLength(1);
  const at = good.indexOf(Buffer.from("\ufffd"));
  const edited = Buffer.concat([good.subarray(0, at), Buffer.of(0xff), good.subarray(at + 3)]);
  await expect(read(edited)).rejects.toThrow(/the line that ends at byte \d+ of the file is not UTF-8/);
  const path = join(temporaryFolder(), "edited.jsonl");
  writeFileSync(path, edited);
  expect(await python(["export", path, "--key", key])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/line 1 is not UTF-8/),
  });
});

test("a character that is cut off at the end of the file is a line that was cut off", async () => {
  const { lines } = await read(Buffer.from("whole\nhalf ä").subarray(0, -1));
  expect(lines).toEqual([
    { text: "whole", end: 6, isWhole: true },
    { text: "", end: 12, isWhole: false },
  ]);
});
