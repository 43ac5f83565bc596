import { createReadStream } from "node:fs";
import { ProofError } from "../../proof/proof-error.ts";

const lineBreak = 0x0a;
/** Bytes that are read at once, and of one line at the most. */
const chunkBytes = 1 << 20;
const maxLineBytes = 4 << 20;

/** A line of a file. */
export interface Line {
  readonly text: string;
  /** Where the next one begins, in bytes. */
  readonly end: number;
  /** False: the file ends without a line break. */
  readonly isWhole: boolean;
}

/**
 * The lines of a file, in memory that does not grow with it. Rejects with ProofError where it is not UTF-8 (a byte that was
 * edited must not be read as if it had not been), and with what the file system says.
 */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let end = 0;
  const line = (bytes: Uint8Array, isWhole: boolean): Line => {
    end += bytes.length + (isWhole ? 1 : 0);
    try {
      return { text: decoder.decode(bytes), end, isWhole };
    } catch {
      if (isWhole) throw new ProofError(`the line that ends at byte ${end} of the file is not UTF-8`);
      // Cut off within a character.
      return { text: "", end, isWhole };
    }
  };
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of createReadStream(path, { highWaterMark: chunkBytes })) {
    const bytes: Buffer = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    let start = 0;
    for (let at = bytes.indexOf(lineBreak); at !== -1; at = bytes.indexOf(lineBreak, start)) {
      yield line(bytes.subarray(start, at), true);
      start = at + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > maxLineBytes) throw new ProofError(`the file has a line of more than ${maxLineBytes} bytes`);
  }
  if (rest.length > 0) yield line(rest, false);
}
