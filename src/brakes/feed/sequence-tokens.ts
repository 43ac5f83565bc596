import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/**
 * Tokens for places in a sequence that tell their holder nothing: not the place, and so not how much others saw in between.
 * They are good in this process only.
 */
export class SequenceTokens {
  readonly #key = randomBytes(16);

  /** The token of a place; the same for the same place. */
  write(place: number): string {
    const block = Buffer.alloc(16);
    block.writeBigUInt64BE(BigInt(place), 8);
    // One block with a check of 64 bits: there is no second one that could be told to be the same.
    const cipher = createCipheriv("aes-128-ecb", this.#key, null).setAutoPadding(false);
    return Buffer.concat([cipher.update(block), cipher.final()]).toString("base64url");
  }

  /** The place of a token; undefined where this process did not write it. */
  read(token: string): number | undefined {
    const sealed = Buffer.from(token, "base64url");
    if (sealed.length !== 16) return undefined;
    const decipher = createDecipheriv("aes-128-ecb", this.#key, null).setAutoPadding(false);
    const block = Buffer.concat([decipher.update(sealed), decipher.final()]);
    const place = Number(block.readBigUInt64BE(8));
    return block.readBigUInt64BE(0) === 0n && Number.isSafeInteger(place) ? place : undefined;
  }
}
