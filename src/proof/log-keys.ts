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

/** One of the keys that a log has had. */
interface LogKey {
  readonly key: VerifierKey;
  /** How large the tree was when another key followed it. */
  readonly until: number;
}

/**
 * The keys of a log that one may trust who trusts the given one: itself, and those that follow it by notes of rotation, each
 * signed by both. A key signs no checkpoint of a tree that is larger than it was at its rotation. Those before the given one
 * count for the log's own notes about entries of their time, and for nothing else: a key may have been rotated because it leaked.
 */
export class LogKeys {
  readonly #keys: readonly LogKey[];
  /** Which of them is the given one. */
  readonly #trusted: number;

  /**
   * @param rotations all that the log has had, the oldest first.
   * @throws ProofError where they are not one chain with the trusted key in it, or one is not signed by both keys.
   */
  constructor(trusted: VerifierKey, rotations: readonly string[] = []) {
    this.#keys = chainOf(rotations, trusted);
    this.#trusted = this.#keys.findIndex(({ key }) => key.text === trusted.text);
    if (this.#trusted === -1) throw new ProofError(`the log never had the key ${trusted.name} ${trusted.id}`);
  }

  get newest(): VerifierKey {
    return this.#keys.at(-1)?.key as VerifierKey;
  }

  /** The checkpoint of a note that a trusted key signed. Throws ProofError where none did, or where it is another log's. */
  open(note: string): Checkpoint {
    const parsed = parseNote(note);
    const checkpoint = parseCheckpoint(parsed.text);
    const { name } = this.newest;
    if (checkpoint.origin !== name) {
      throw new ProofError(`the checkpoint is of the log "${checkpoint.origin}", the key of "${name}"`);
    }
    if (!isSignedByOne(parsed, this.#keys.slice(this.#trusted), checkpoint.size)) {
      const ids = parsed.signatures.map(({ keyId }) => keyId).join(", ");
      throw new ProofError(
        `the checkpoint is signed by key ${ids}, none of which is trusted for it (${this.newest.id} is)`,
      );
    }
    return checkpoint;
  }

  /** What a note of the log's own says that one of its keys signed. Throws ProofError where none did, or it says something else. */
  openNote<T extends { readonly size: number }>(note: string, parse: (text: string) => T): T {
    const parsed = parseNote(note);
    const told = parse(parsed.text);
    if (isSignedByOne(parsed, this.#keys, told.size)) return told;
    throw new ProofError("a note of the log is not signed by a key that it had then");
  }
}

function isSignedByOne(note: Note, keys: readonly LogKey[], size: number): boolean {
  return keys.some(({ key, until }) => size <= until && isSignedBy(note, key));
}

function chainOf(rotations: readonly string[], only: VerifierKey): LogKey[] {
  const keys: LogKey[] = [];
  let newest: VerifierKey | undefined;
  for (const note of rotations) {
    const parsed = parseNote(note);
    const { from, to, size } = rotationOf(parsed);
    const [own, next] = [parseVerifierKey(from), parseVerifierKey(to)];
    if (newest !== undefined && own.text !== newest.text) throw new ProofError("the log's rotations are not one chain");
    if (next.name !== own.name) throw new ProofError("a rotation cannot change the log's name");
    if (!isSignedBy(parsed, own) || !isSignedBy(parsed, next)) {
      throw new ProofError(`the rotation from key ${own.id} to ${next.id} is not signed by both`);
    }
    keys.push({ key: own, until: size });
    newest = next;
  }
  return [...keys, { key: newest ?? only, until: Number.POSITIVE_INFINITY }];
}
