import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { StoredGateToken } from "./gate-tokens.ts";
import type { Answer, Change } from "./store.ts";

/** What a fallback file begins with. */
export interface FallbackHeader {
  /** The entry that tells of the merge: where the ledger has it, all of the file is merged. */
  readonly mergedEntryId: string;
  /** When the database could not be written any more, ms since the epoch. */
  readonly since: number;
  readonly because: string;
}

/** Characters of the SHA-256 that each line begins with, by which one that was cut off is told. */
const checkLength = 16;

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Changes as lines of a local file, where the database cannot be written: append-only, each one on the disk before it is
 * acknowledged; those that wait at the same time share one write.
 */
export class FallbackFile {
  readonly #path: string;
  #file: FileHandle | undefined;
  #size = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** How many bytes are in it, and wait for it. */
  get size(): number {
    return this.#waiting.reduce((sum, { line }) => sum + line.length, this.#size);
  }

  /**
   * What was left in it; undefined: there is none. A last line that a crash cut off was never acknowledged, and is not in it.
   *
   * @throws MissionControlError LEDGER_UNAVAILABLE where anything else is wrong with it.
   */
  async read(): Promise<{ header: FallbackHeader; changes: Change[]; cutOff: boolean } | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw this.#unusable(error instanceof Error ? error.message : String(error));
    }
    const lines = text.split("\n");
    // What stands behind the last end of a line was cut off, be it only its own end.
    const cutOff = lines.pop() !== "";
    const contents = lines.map(contentOf);
    const damaged = contents.indexOf(undefined);
    // A disk may also have grown the file and not written all of it: that concerns the last line, too.
    const isLast = damaged === lines.length - 1;
    if (damaged !== -1 && !isLast) throw this.#unusable(`line ${damaged + 1} is damaged`);
    const whole = damaged === -1 ? lines.length : damaged;
    const [header, ...changes] = contents.slice(0, whole).map((content) => JSON.parse(content ?? ""));
    this.#size = Buffer.byteLength(lines.slice(0, whole).join("\n")) + (whole > 0 ? 1 : 0);
    return header && { header, changes: changes.map(toChange), cutOff: cutOff || damaged !== -1 };
  }

  /** Begins it anew, or goes on behind what is in it. */
  async begin(header: FallbackHeader): Promise<void> {
    if (this.#file !== undefined) return;
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const size = this.#size;
    const file = await open(this.#path, size === 0 ? "w" : "r+", 0o600);
    this.#file = file;
    try {
      await file.truncate(size);
      if (size === 0) await this.#write(lineOf(header));
      const directory = await open(dirname(this.#path), "r");
      await directory.sync().finally(() => directory.close());
    } catch (error) {
      // The next attempt begins it anew: nothing may be written behind a beginning that is not there.
      this.#file = undefined;
      this.#size = size;
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  /** Resolves when the change is on the disk; in the order of the calls. Rejects where it is not, and will not be. */
  append(change: Change): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line: lineOf(fromChange(change)), resolve, reject });
      this.#writing ??= this.#writeWaiting();
    });
  }

  /** All that is in it is elsewhere. */
  async remove(): Promise<void> {
    await this.close();
    this.#size = 0;
    await unlink(this.#path);
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch.map(({ line }) => line).join(""));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        const why = this.#unusable(error instanceof Error ? error.message : String(error));
        for (const { reject } of batch) reject(why);
      }
    }
    this.#writing = undefined;
  }

  /** All of it and on the disk, or nothing: what a failure left behind is cut off before anything else is written. */
  async #write(text: string): Promise<void> {
    const file = this.#file;
    if (file === undefined) throw new Error("it is not open");
    await file.truncate(this.#size);
    const { bytesWritten } = await file.write(text, this.#size);
    if (bytesWritten !== Buffer.byteLength(text)) throw new Error("it was not written whole");
    await file.datasync();
    this.#size += bytesWritten;
  }

  #unusable(why: string): MissionControlError {
    return new MissionControlError(
      "LEDGER_UNAVAILABLE",
      `the ledger's fallback file ${this.#path} cannot be used (${why}): nothing is done that cannot be recorded`,
    );
  }
}

function lineOf(content: object): string {
  const json = JSON.stringify(content);
  return `${checkOf(json)} ${json}\n`;
}

/** Undefined where the line is not whole. */
function contentOf(line: string): string | undefined {
  const json = line.slice(checkLength + 1);
  return json !== "" && line.startsWith(`${checkOf(json)} `) ? json : undefined;
}

function checkOf(json: string): string {
  return createHash("sha256").update(json).digest("hex").slice(0, checkLength);
}

type Kept = Omit<Change, "entries" | "answers" | "gateTokens"> & {
  readonly entries: readonly string[];
  /** Absent in files of older versions. */
  readonly gateTokens?: readonly (Omit<StoredGateToken, "hash"> & { readonly hash: string })[];
  readonly answers: readonly (Omit<Answer, "requestDigest" | "response"> & {
    readonly requestDigest: string;
    readonly response: string;
  })[];
};

function fromChange({ entries, brakes, holds, revocations, gateTokens = [], answers = [] }: Change): Kept {
  return {
    entries: entries.map((entry) => toText(toBinary(AuditEntrySchema, entry))),
    brakes,
    holds,
    revocations,
    gateTokens: gateTokens.map((token) => ({ ...token, hash: toText(token.hash) })),
    answers: answers.map((answer) => ({
      ...answer,
      requestDigest: toText(answer.requestDigest),
      response: toText(answer.response),
    })),
  };
}

function toChange({ entries, answers, gateTokens = [], ...rest }: Kept): Change {
  return {
    ...rest,
    entries: entries.map((entry) => fromBinary(AuditEntrySchema, fromText(entry))),
    gateTokens: gateTokens.map((token) => ({ ...token, hash: fromText(token.hash) })),
    answers: answers.map((answer) => ({
      ...answer,
      requestDigest: fromText(answer.requestDigest),
      response: fromText(answer.response),
    })),
  };
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function fromText(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
