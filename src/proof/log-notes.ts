import { fromBase64, toBase64 } from "./base64.ts";
import { ProofError } from "./proof-error.ts";

const pruningTitle = "mission-control pruning v1";
const acknowledgementTitle = "mission-control rollback acknowledgement v1";

/** That the ledger's first `size` entries are gone: by retention, and not by anybody's hand. */
export interface Pruning {
  readonly origin: string;
  /** How many entries were pruned, from the first. */
  readonly size: number;
  /** The root of the tree over them. */
  readonly root: Uint8Array;
  /** RFC 3339. */
  readonly time: string;
}

/** The text of a note that says so. */
export function pruningText({ origin, size, root, time }: Pruning): string {
  return `${pruningTitle}\n${origin}\n${size}\n${toBase64(root)}\n${time}\n`;
}

/** Throws ProofError where this is no such text. */
export function parsePruning(text: string): Pruning {
  const [title, origin = "", digits = "", base64 = "", time = "", ...rest] = text.split("\n");
  if (title !== pruningTitle || !/^\d{1,15}$/.test(digits) || rest.length !== 1) {
    throw new ProofError("this is not a note of a pruning");
  }
  return { origin, size: Number(digits), root: fromBase64(base64, "a pruning's root"), time };
}

/** That the ledger was found to be not what had been published, and that somebody had it go on all the same. */
export interface Acknowledgement {
  readonly origin: string;
  /** How many entries it had when it went on, and their tree's root. */
  readonly size: number;
  readonly root: Uint8Array;
  /** What was found. */
  readonly found: string;
  /** Why it was to go on. */
  readonly reason: string;
  /** RFC 3339. */
  readonly time: string;
}

/** The text of a note that says so. */
export function acknowledgementText({ origin, size, root, found, reason, time }: Acknowledgement): string {
  const lines = [found, reason].map((line) => line.replace(/\p{Cc}+/gu, " "));
  return `${[acknowledgementTitle, origin, size, toBase64(root), time, ...lines].join("\n")}\n`;
}

/** Throws ProofError where this is no such text. */
export function parseAcknowledgement(text: string): Acknowledgement {
  const [title, origin = "", digits = "", base64 = "", time = "", found = "", reason = "", ...rest] = text.split("\n");
  if (title !== acknowledgementTitle || !/^\d{1,15}$/.test(digits) || rest.length !== 1) {
    throw new ProofError("this is not a note of an acknowledged rollback");
  }
  return { origin, size: Number(digits), root: fromBase64(base64, "an acknowledgement's root"), found, reason, time };
}
