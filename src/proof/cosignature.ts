import { verify } from "node:crypto";
import { parseNote } from "./note.ts";
import { ProofError } from "./proof-error.ts";
import { parseVerifierKey, type VerifierKey } from "./verifier-key.ts";

/** The signature type of Ed25519 cosignatures in C2SP tlog-cosignature, and the bytes of their time. */
const cosignatureType = 0x04;
const timeBytes = 8;
/** Characters of the line of one cosignature, the largest of which are not of Ed25519. */
const maxLine = 4096;

/** A witness saw the log as a checkpoint has it, and grown from all that it had seen of it before. */
export interface Cosignature {
  readonly key: VerifierKey;
  /** When it said so. */
  readonly time: Date;
}

/** Reads a witness' key as it is written down. Throws ProofError that says what is wrong with it. */
export function parseWitnessKey(text: string): VerifierKey {
  return parseVerifierKey(text, cosignatureType);
}

/**
 * The note with these lines below its signatures, in the place of earlier ones of the same keys; what is no signature is left out,
 * and all of them where the note would be too long with them to be read.
 */
export function cosigned(note: string, lines: readonly string[]): string {
  const { text } = parseNote(note);
  // The log's own name is its own: a line under it would be taken for a signature of the log that is wrong.
  const isCosigner = (line: string) => {
    const signer = signerOf(line);
    return signer !== undefined && !signer.startsWith(`${originOf(text)} `);
  };
  const more = new Map(lines.filter(isCosigner).map((line) => [signerOf(line), line]));
  const before = note.slice(text.length + 1, -1).split("\n");
  const kept = before.filter((line) => !more.has(signerOf(line)));
  const longer = `${text}\n${[...kept, ...more.values()].map((line) => `${line}\n`).join("")}`;
  return isNote(longer) ? longer : note;
}

/** Whether somebody signed a checkpoint beside the log. */
export function hasCosignature(note: string): boolean {
  const { text, signatures } = parseNote(note);
  return signatures.some(({ name }) => name !== originOf(text));
}

function originOf(text: string): string {
  return text.slice(0, text.indexOf("\n"));
}

/** Whose line of a note it is, by name and key; undefined: it is none. */
function signerOf(line: string): string | undefined {
  const note = `x\n\n${line}\n`;
  if (line.length > maxLine || !isNote(note)) return undefined;
  return parseNote(note)
    .signatures.map(({ name, keyId }) => `${name} ${keyId}`)
    .join("\n");
}

function isNote(text: string): boolean {
  try {
    parseNote(text);
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

/** The cosignatures of a checkpoint by each of these witnesses. Throws ProofError where one is missing, or wrong. */
export function cosignaturesOf(note: string, witnesses: readonly VerifierKey[]): Cosignature[] {
  const { text, signatures } = parseNote(note);
  return witnesses.map((key) => {
    const own = signatures.filter(({ name, keyId }) => name === key.name && keyId === key.id);
    const times = own.map(({ signature }) => {
      const seconds = signature.length > timeBytes ? Buffer.from(signature).readBigUInt64BE() : 0n;
      const message = Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
      if (!verify(null, message, key.publicKey, signature.subarray(timeBytes))) {
        throw new ProofError(`the cosignature of the witness ${key.name} (key ${key.id}) is wrong`);
      }
      return Number(seconds);
    });
    if (times.length === 0)
      throw new ProofError(`the checkpoint has no cosignature of the witness ${key.name} (key ${key.id})`);
    const time = new Date(Math.max(...times) * 1000);
    if (Number.isNaN(time.getTime())) throw new ProofError(`the witness ${key.name} told no time`);
    return { key, time };
  });
}
