import { readIfThere, replaceFile } from "../whole-file.ts";

/** The last entry that a sink has for good: a file of its own, replaced whole. */
export class Cursor {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** 0: it has none. Throws where the file does not hold a number. */
  async read(): Promise<number> {
    const text = await readIfThere(this.#path);
    if (text === undefined) return 0;
    const sequence = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(sequence) || sequence < 0) {
      throw new Error(
        `${this.#path} holds no position: remove it, and the ledger is streamed anew from its first entry`,
      );
    }
    return sequence;
  }

  async write(sequence: number): Promise<void> {
    await replaceFile(this.#path, `${sequence}\n`, 0o600);
  }
}
