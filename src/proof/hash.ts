import { hash } from "node:crypto";

/** Bytes of a hash: SHA-256. */
export const hashBytes = 32;

/** The root of a tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Uint8Array = sha256(new Uint8Array(0));

/** The hash of a leaf (RFC 9162): SHA-256(0x00 ‖ bytes), over the bytes as they are stored. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  const input = new Uint8Array(bytes.length + 1);
  input.set(bytes, 1);
  return sha256(input);
}

/** The hash of an inner node (RFC 9162): SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + 2 * hashBytes);
  input[0] = 0x01;
  input.set(left, 1);
  input.set(right, 1 + hashBytes);
  return sha256(input);
}

/** Whether two hashes are the same; they are no secrets. */
export function sameHash(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}
