import { type KeyObject, sign, verify } from "node:crypto";
import { fromBase64, toBase64 } from "./base64.ts";
import { ProofError } from "./proof-error.ts";
import type { VerifierKey } from "./verifier-key.ts";

/** Bounds of a note that is read: characters, and signatures. */
const limits = { length: 64 * 1024, signatures: 64 } as const;

/** A text with signatures below it (C2SP signed-note). */
export interface Note {
  /** What is signed, with the line break that ends it. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteSignature {
  readonly name: string;
  /** 8 hex digits. */
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** A private key with its public one. */
export interface NoteSigner {
  readonly key: VerifierKey;
  readonly privateKey: KeyObject;
}

/** The note of that text, signed by all of these. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  const lines = signers.map(({ key, privateKey }) => {
    const signature = sign(null, Buffer.from(text), privateKey);
    return `— ${key.name} ${toBase64(Buffer.concat([Buffer.from(key.id, "hex"), signature]))}\n`;
  });
  return `${text}\n${lines.join("")}`;
}

/** Takes a note apart; says nothing about its signatures yet. Throws ProofError where it is no note. */
export function parseNote(note: string): Note {
  if (note.length > limits.length) throw new ProofError("the note is too long");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a note has none but line breaks
  if (/[\x00-\x09\x0b-\x1f]/.test(note) || !note.isWellFormed()) throw new ProofError("the note is not plain text");
  const end = note.lastIndexOf("\n\n");
  if (end === -1 || !note.endsWith("\n"))
    throw new ProofError("this is not a signed note: no signatures below a blank line");
  const lines = note.slice(end + 2, -1).split("\n");
  if (lines.length > limits.signatures) throw new ProofError("the note has too many signatures");
  const signatures = lines.map((line): NoteSignature => {
    const [, name = "", base64 = ""] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    if (name === "") throw new ProofError("a line below the note is no signature");
    const bytes = fromBase64(base64, "a signature of the note");
    if (bytes.length < 5) throw new ProofError("a signature of the note is cut off");
    return { name, keyId: Buffer.from(bytes.subarray(0, 4)).toString("hex"), signature: bytes.subarray(4) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

/** Whether the note is signed by the key. Throws ProofError where it says so, but the signature is wrong. */
export function isSignedBy(note: Note, key: VerifierKey): boolean {
  const own = note.signatures.filter(({ name, keyId }) => name === key.name && keyId === key.id);
  for (const { signature } of own) {
    if (!verify(null, Buffer.from(note.text), key.publicKey, signature)) {
      throw new ProofError(`the signature of ${key.name} (key ${key.id}) is wrong`);
    }
  }
  return own.length > 0;
}
