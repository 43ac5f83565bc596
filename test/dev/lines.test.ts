import { once } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { eachLine } from "../../src/dev/lines.ts";

test("lines come out whole however the stream is cut, long ones are cut short", async () => {
  const stream = new PassThrough();
  const lines: string[] = [];
  eachLine(stream, 10, (line) => lines.push(line));
  for (const part of ["one\r\ntw", "o\n\n", "0123456789", "abcdef", "\nlast é".slice(0, 6)]) stream.write(part);
  stream.end("é");
  await once(stream, "end");
  expect(lines).toEqual(["one", "two", "", "0123456789", "last é"]);
});
