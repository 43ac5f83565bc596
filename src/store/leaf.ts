import { createHash } from "node:crypto";

const leafPrefix = Uint8Array.of(0x00);

/** The leaf hash of RFC 9162: SHA-256(0x00 ‖ bytes), over the bytes as they are stored. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(leafPrefix).update(bytes).digest();
}
