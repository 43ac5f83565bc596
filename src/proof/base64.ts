import { ProofError } from "./proof-error.ts";

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** The bytes of a standard base64 text with padding, in the one spelling that they have. Throws ProofError for any other. */
export function fromBase64(text: string, what: string): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new ProofError(`${what} is not base64`);
  return new Uint8Array(bytes);
}
