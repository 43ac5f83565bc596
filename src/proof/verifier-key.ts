import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { fromBase64, toBase64 } from "./base64.ts";
import { ProofError } from "./proof-error.ts";

/** The signature type of Ed25519 in C2SP signed-note. */
const ed25519 = 0x01;

/** A public key by which notes are verified (C2SP signed-note). */
export interface VerifierKey {
  /** The signer's name; for a log's key its origin. */
  readonly name: string;
  /** 8 hex digits: which of the signer's keys. */
  readonly id: string;
  readonly publicKey: KeyObject;
  /** The key as it is written down: "<name>+<id>+<base64>". */
  readonly text: string;
}

/** The key of that name with these 32 bytes, for signatures of a type. Throws ProofError where the name is none. */
export function verifierKey(name: string, raw: Uint8Array, type = ed25519): VerifierKey {
  if (!/^[^\s+\p{Cc}]+$/u.test(name))
    throw new ProofError(`"${name}" is not the name of a key: no spaces, no plus sign`);
  const typed = Buffer.concat([Buffer.of(type), raw]);
  const id = createHash("sha256").update(`${name}\n`).update(typed).digest().subarray(0, 4).toString("hex");
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(raw).toString("base64url") };
  return {
    name,
    id,
    publicKey: createPublicKey({ key: jwk, format: "jwk" }),
    text: `${name}+${id}+${toBase64(typed)}`,
  };
}

/**
 * Reads a key as it is written down. Throws ProofError that says what is wrong with it.
 *
 * @param type of its signatures, by C2SP; by default that of a log.
 */
export function parseVerifierKey(text: string, type = ed25519): VerifierKey {
  const [, name = "", id = "", base64 = ""] = /^([^+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim()) ?? [];
  if (name === "") throw new ProofError('this is not a verifier key: it is written "<name>+<8 hex digits>+<base64>"');
  const typed = fromBase64(base64, "the verifier key");
  if (typed.length !== 33 || typed[0] !== type) {
    throw new ProofError(`the verifier key is not one of Ed25519 with signatures of type ${type}`);
  }
  const key = verifierKey(name, typed.subarray(1), type);
  if (key.id !== id) throw new ProofError(`the verifier key's id is ${key.id}, not ${id}: it was copied wrong`);
  return key;
}
