import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** The last entry that a sink has for good: a file of its own, replaced whole. */
export class Cursor {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** 0: it has none. Throws where the file does not hold a number. */
  async read(): Promise<number> {
    try {
      const text = await readFile(this.#path, "utf8");
      const sequence = Number(text);
      if (text.trim() === "" || !Number.isSafeInteger(sequence) || sequence < 0) {
        throw new Error(
          `${this.#path} holds no position: remove it, and the ledger is streamed anew from its first entry`,
        );
      }
      return sequence;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
      throw error;
    }
  }

  async write(sequence: number): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const file = await open(`${this.#path}.draft`, "w", 0o600);
    try {
      await file.writeFile(`${sequence}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.draft`, this.#path);
  }
}
