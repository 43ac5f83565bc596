import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { isSignedBy, type Note, type NoteSigner, parseNote, signNote } from "./note.ts";
import { ProofError } from "./proof-error.ts";
import { parseVerifierKey, type VerifierKey } from "./verifier-key.ts";

const rotationTitle = "mission-control key rotation v1";

/** A log's key follows another one: a note that says so, signed by both. */
export function rotationNote(from: NoteSigner, to: NoteSigner, size: number): string {
  return signNote(`${rotationTitle}\n${from.key.text}\n${to.key.text}\n${size}\n`, [from, to]);
}

/** What a note of rotation says: the keys as they are written down, and how large the tree was. Throws ProofError. */
export function rotationOf(note: Note): { readonly from: string; readonly to: string; readonly size: number } {
  const [title, from = "", to = "", digits = "", ...rest] = note.text.split("\n");
  if (title !== rotationTitle || !/^\d{1,15}$/.test(digits) || rest.length !== 1) {
    throw new ProofError("this is not a note of a key's rotation");
  }
  return { from, to, size: Number(digits) };
}

/**
 * The keys of a log that one may trust who trusts the given one: itself, and those that follow it by notes of rotation, each
 * signed by both. A key signs no checkpoint of a tree that is larger than it was at its rotation.
 */
export class LogKeys {
  readonly #trusted: { readonly key: VerifierKey; until: number }[];

  constructor(trusted: VerifierKey) {
    this.#trusted = [{ key: trusted, until: Number.POSITIVE_INFINITY }];
  }

  get origin(): string {
    return this.newest.name;
  }

  get newest(): VerifierKey {
    return this.#trusted.at(-1)?.key as VerifierKey;
  }

  /**
   * Follows a note of rotation. One that begins at a key which is not trusted is passed over: it is from before, or another
   * log's. Throws ProofError where one begins at a trusted key and does not hold.
   */
  follow(note: string): void {
    const parsed = parseNote(note);
    const { from, to, size } = rotationOf(parsed);
    const own = this.#trusted.find(({ key }) => key.text === from);
    if (own === undefined || own !== this.#trusted.at(-1)) return;
    const next = parseVerifierKey(to);
    if (next.name !== own.key.name) throw new ProofError("a rotation cannot change the log's name");
    if (!isSignedBy(parsed, own.key) || !isSignedBy(parsed, next)) {
      throw new ProofError(`the rotation from key ${own.key.id} to ${next.id} is not signed by both`);
    }
    own.until = size;
    this.#trusted.push({ key: next, until: Number.POSITIVE_INFINITY });
  }

  /** The checkpoint of a note that a trusted key signed. Throws ProofError where none did, or where it is another log's. */
  open(note: string): Checkpoint {
    const parsed = parseNote(note);
    const checkpoint = parseCheckpoint(parsed.text);
    if (checkpoint.origin !== this.origin) {
      throw new ProofError(`the checkpoint is of the log "${checkpoint.origin}", the key of "${this.origin}"`);
    }
    const signer = this.#trusted.find(({ key, until }) => checkpoint.size <= until && isSignedBy(parsed, key));
    if (signer === undefined) {
      const ids = parsed.signatures.map(({ keyId }) => keyId).join(", ");
      throw new ProofError(
        `the checkpoint is signed by key ${ids}, none of which is trusted for it (${this.newest.id} is)`,
      );
    }
    return checkpoint;
  }

  /** The text of a note of the log's own that a trusted key signed. */
  openText(note: string): string {
    const parsed = parseNote(note);
    if (!this.#trusted.some(({ key }) => isSignedBy(parsed, key))) {
      throw new ProofError("a note of the log is not signed by a trusted key");
    }
    return parsed.text;
  }
}
