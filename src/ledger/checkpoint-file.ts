import { join } from "node:path";
import type { StoredCheckpoint } from "../store/proof-store.ts";
import type { Publisher } from "./publisher.ts";
import { readIfThere, replaceFile } from "./whole-file.ts";

/** The file with the newest checkpoint. */
const newest = "checkpoint";

/**
 * Checkpoints as files of a directory: `checkpoint` is the newest, `2026-11-22` the last one of that day (UTC). Each is
 * replaced whole. On another disk, or one that the server may only append to, they show whether the database was rolled back.
 */
export class CheckpointFile implements Publisher {
  readonly name = "file";
  readonly cosigns = false;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async publish({ note, time }: StoredCheckpoint): Promise<readonly string[]> {
    for (const name of [new Date(time).toISOString().slice(0, 10), newest]) {
      await replaceFile(join(this.#directory, name), note, 0o644);
    }
    return [];
  }

  /** The note that was published last; undefined: none was. Throws where it cannot be read. */
  last(): Promise<string | undefined> {
    return readIfThere(join(this.#directory, newest));
  }
}
