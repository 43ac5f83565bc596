import { once } from "node:events";
import { closeSync, constants, fsyncSync, ftruncateSync, openSync, statSync, writeSync } from "node:fs";
import type { ExportVerifier } from "../../proof/export.ts";
import { ProofError } from "../../proof/proof-error.ts";
import { usageFailure } from "../failure.ts";
import { linesOf } from "./lines.ts";

/** So many characters are written at once. */
const atOnce = 1 << 17;

/** Where the lines of an export go. */
export interface ExportSink {
  /** Takes one line, without its line break. */
  write(line: string): Promise<void> | void;
  /** All is written; in a file it is durable. */
  end(): Promise<void> | void;
}

/** Lines into a stream, no faster than it takes them. */
export function streamSink(stream: NodeJS.WritableStream): ExportSink {
  return {
    write: async (line) => {
      if (!stream.write(`${line}\n`)) await once(stream, "drain");
    },
    end: () => undefined,
  };
}

/**
 * Lines into a file. Where there is one already, an export that was interrupted, the verifier takes what is in it, and the
 * lines go behind its last whole line.
 *
 * @throws a usage failure where the file is something else, or complete.
 */
export async function fileSink(path: string, verifier: ExportVerifier): Promise<ExportSink> {
  const end = await takeUp(path, verifier);
  let file: number;
  try {
    file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    ftruncateSync(file, end);
  } catch (error) {
    throw usageFailure(`cannot write ${path}: ${(error as Error).message}`);
  }
  let position = end;
  let waiting = "";
  const flush = () => {
    const bytes = Buffer.from(waiting);
    for (let done = 0; done < bytes.length; )
      done += writeSync(file, bytes, done, bytes.length - done, position + done);
    position += bytes.length;
    waiting = "";
  };
  return {
    write: (line) => {
      waiting += `${line}\n`;
      if (waiting.length >= atOnce) flush();
    },
    end: () => {
      flush();
      fsyncSync(file);
      closeSync(file);
    },
  };
}

/** Takes what is there already; returns where it ends, in bytes. */
async function takeUp(path: string, verifier: ExportVerifier): Promise<number> {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return 0;
  let end = 0;
  try {
    for await (const line of linesOf(path)) {
      if (!line.isWhole) break;
      verifier.line(line.text);
      end = line.end;
    }
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    throw usageFailure(`${path} is not an export that was interrupted (${error.message}): name another file`);
  }
  if (verifier.isEnded) throw usageFailure(`${path} is a complete export: name another file, or verify it`);
  return end;
}
