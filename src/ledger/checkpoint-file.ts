import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { StoredCheckpoint } from "../store/proof-store.ts";
import type { Publisher } from "./publisher.ts";

/** The file with the newest checkpoint. */
const newest = "checkpoint";

/**
 * Checkpoints as files of a directory: `checkpoint` is the newest, `2026-11-22` the last one of that day (UTC). Each is
 * replaced whole. On another disk, or one that the server may only append to, they show whether the database was rolled back.
 */
export class CheckpointFile implements Publisher {
  readonly name = "file";
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async publish({ note, time }: StoredCheckpoint): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await this.#write(new Date(time).toISOString().slice(0, 10), note);
    await this.#write(newest, note);
  }

  /** The note that was published last; undefined: none was. Throws where it cannot be read. */
  async last(): Promise<string | undefined> {
    try {
      return await readFile(join(this.#directory, newest), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async #write(name: string, note: string): Promise<void> {
    const path = join(this.#directory, name);
    const file = await open(`${path}.draft`, "w", 0o644);
    try {
      await file.writeFile(note);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.draft`, path);
  }
}
