import type { StoredCheckpoint } from "../store/proof-store.ts";
import type { Publisher } from "./publisher.ts";

/** Checkpoints as lines of JSON on a stream: where standard output is collected, that is a second place. */
export class CheckpointLine implements Publisher {
  readonly name = "stdout";
  readonly cosigns = false;
  readonly #stream: NodeJS.WritableStream;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  publish({ size, note, time }: StoredCheckpoint): Promise<readonly string[]> {
    const line = JSON.stringify({ time: new Date(time).toISOString(), ledgerSize: size, checkpoint: note });
    return new Promise((resolve, reject) => {
      this.#stream.write(`${line}\n`, (error) => (error ? reject(error) : resolve([])));
    });
  }
}
