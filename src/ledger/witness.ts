import { MissionControlError } from "../errors.ts";
import { toBase64 } from "../proof/base64.ts";
import type { StoredCheckpoint } from "../store/proof-store.ts";
import { post } from "./post.ts";
import type { Prove, Publisher } from "./publisher.ts";

/** Signatures that are kept of one: it has one, or two while it changes its key. */
const maxSignatures = 4;

/**
 * A witness by HTTP (C2SP tlog-witness): it is given each checkpoint with the proof that the ledger only grew since the last one
 * it took, checks that itself, and remembers. One that has seen a larger ledger than this tells of a rollback.
 */
export class Witness implements Publisher {
  readonly name: string;
  readonly cosigns = true;
  readonly #url: URL;
  /** How large the ledger was in the last checkpoint that it took, as far as is known here. */
  #seen = 0;

  /** @param url where the witness is; `/add-checkpoint` is below it. */
  constructor(url: string) {
    this.#url = new URL(`${url.replace(/\/+$/, "")}/add-checkpoint`);
    this.name = `witness ${this.#url.host}`;
  }

  async publish(checkpoint: StoredCheckpoint, signal: AbortSignal, prove: Prove): Promise<readonly string[]> {
    const first = await this.#add(checkpoint, signal, prove);
    // It knows better than we what it has seen: once more with what it says.
    const lines = first ?? (await this.#add(checkpoint, signal, prove));
    if (lines === undefined) throw new Error("it has seen another ledger each time");
    return lines;
  }

  /** The lines of its signatures; undefined where it has seen another size than we thought, which is remembered. */
  async #add({ size, note }: StoredCheckpoint, signal: AbortSignal, prove: Prove) {
    const proof = (await prove(this.#seen)).map((hash) => `${toBase64(hash)}\n`).join("");
    const { status, text } = await post(this.#url, `old ${this.#seen}\n${proof}\n${note}`, {
      headers: { "content-type": "text/plain" },
      signal,
    });
    if (status === 200) {
      this.#seen = size;
      return text.split("\n").slice(0, maxSignatures);
    }
    if (status === 409 && /^\d{1,15}\n?$/.test(text)) {
      const seen = Number(text);
      if (seen > size) {
        throw new MissionControlError(
          "LEDGER_TAMPERED",
          `it was rolled back: ${this.name} has seen ${seen} entries, and it has ${size} now`,
        );
      }
      this.#seen = seen;
      return undefined;
    }
    throw new Error(`it answered ${status}${status === 422 ? ": the proof does not hold for it" : ""}`);
  }
}
