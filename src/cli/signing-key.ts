import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import type { NoteSigner } from "../proof/note.ts";
import { ProofError } from "../proof/proof-error.ts";
import { verifierKey } from "../proof/verifier-key.ts";
import { usageFailure } from "./failure.ts";

/** An Ed25519 private key as JWK, with its owner's name. */
interface KeyFile {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly d: string;
  readonly name: string;
}

/** Makes a key in a new file (0600), and returns its public part. Throws a usage failure where there is one already. */
export function makeSigningKey(path: string, name: string): string {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const file: KeyFile = { kty: "OKP", crv: "Ed25519", x, d, name };
  const { key } = signerOf(file);
  try {
    writeFileSync(path, `${JSON.stringify(file, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw usageFailure(`cannot make the key: ${(error as Error).message}`);
  }
  return key.text;
}

/** The key in a file. Throws a usage failure, which never repeats the key, where it cannot be used. */
export function readSigningKey(path: string): NoteSigner {
  let text: string;
  let isOpen: boolean;
  try {
    isOpen = process.platform !== "win32" && (statSync(path).mode & 0o077) !== 0;
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw usageFailure(`cannot read the signing key: ${(error as Error).message}`);
  }
  if (isOpen) throw usageFailure(`others can read the signing key ${path}: make a new one, and chmod 600 it`);
  try {
    return signerOf(JSON.parse(text) as KeyFile);
  } catch {
    throw usageFailure(`${path} is not a signing key: mctl make-signing-key makes one`);
  }
}

function signerOf({ kty, crv, x, d, name }: KeyFile): NoteSigner {
  try {
    return {
      key: verifierKey(name, Buffer.from(x, "base64url")),
      privateKey: createPrivateKey({ key: { kty, crv, x, d }, format: "jwk" }),
    };
  } catch (error) {
    if (error instanceof ProofError) throw usageFailure(error.message);
    throw error;
  }
}
