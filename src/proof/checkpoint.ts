import { fromBase64, toBase64 } from "./base64.ts";
import { hashBytes } from "./hash.ts";
import { ProofError } from "./proof-error.ts";

/** A log at one moment (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** The log's name. */
  readonly origin: string;
  /** How many leaves it has. */
  readonly size: number;
  /** The root of the tree over them. */
  readonly root: Uint8Array;
}

/** The text that is signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** Reads a checkpoint's text. Throws ProofError where it is none. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = "", digits = "", base64 = "", ...rest] = text.split("\n");
  if (origin === "" || !/^(0|[1-9]\d{0,15})$/.test(digits) || rest.at(-1) !== "") {
    throw new ProofError("this is not a checkpoint: it has the log's name, its size and its root, a line for each");
  }
  const root = fromBase64(base64, "the checkpoint's root");
  if (root.length !== hashBytes) throw new ProofError("the checkpoint's root is not a SHA-256");
  const size = Number(digits);
  if (!Number.isSafeInteger(size)) throw new ProofError("the checkpoint's size is too large");
  return { origin, size, root };
}
