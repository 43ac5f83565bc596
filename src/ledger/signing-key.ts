import { createPrivateKey, generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { NoteSigner } from "../proof/note.ts";
import { verifierKey } from "../proof/verifier-key.ts";
import { readIfThere, replaceFile } from "./whole-file.ts";

/** The file names in the key's directory. The public one is for whoever verifies. */
const files = {
  private: "private.jwk.json",
  next: "next.jwk.json",
  rotations: "rotations.jsonl",
  public: "verifier.key",
} as const;

/** An Ed25519 private key as JWK, with the name of the log that it signs for. */
interface KeyFile {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly d: string;
  readonly origin: string;
}

/**
 * The log's key in that directory, made at the first start (0600, in a directory of 0700), with a new name for the log.
 * Throws an Error that says what to do where the file is unfit.
 */
export async function openSigningKey(directory: string): Promise<NoteSigner> {
  const path = join(directory, files.private);
  const key = (await read(path)) ?? (await make(directory));
  await publish(directory, key);
  return signerOf(key);
}

/** Makes the key that will follow, and keeps it beside the one in use: nothing signs with it before `takeNextKey`. */
export async function makeNextKey(directory: string, origin: string): Promise<NoteSigner> {
  const key = newKey(origin);
  const path = join(directory, files.next);
  await rm(path, { force: true });
  await write(path, `${JSON.stringify(key, undefined, 2)}\n`, 0o600);
  return signerOf(key);
}

/** The key that was made to follow, if there is one: a crash may have come between its note and its use. */
export async function readNextKey(directory: string): Promise<NoteSigner | undefined> {
  const key = await read(join(directory, files.next));
  return key && signerOf(key);
}

/**
 * Puts the key that was made to follow in the place of the one in use. The note that says so is kept beside it first: a database
 * that is rolled back does not know any more how it came to this key.
 */
export async function takeNextKey(directory: string, rotation: string): Promise<NoteSigner> {
  const before = await readRotations(directory);
  if (!before.includes(rotation)) {
    const lines = [...before, rotation].map((note) => `${JSON.stringify(note)}\n`).join("");
    await replaceFile(join(directory, files.rotations), lines, 0o600);
  }
  await rename(join(directory, files.next), join(directory, files.private));
  return openSigningKey(directory);
}

/** The notes of the rotations that led to the key in use, the oldest first. */
export async function readRotations(directory: string): Promise<string[]> {
  const path = join(directory, files.rotations);
  const text = await readIfThere(path);
  try {
    return (text ?? "")
      .split("\n")
      .filter(Boolean)
      .map((line): string => JSON.parse(line));
  } catch {
    throw new Error(`${path} does not hold the notes of the key's rotations: put a copy of it there`);
  }
}

function newKey(origin: string): KeyFile {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  return { kty: "OKP", crv: "Ed25519", x, d, origin };
}

function signerOf(key: KeyFile): NoteSigner {
  return {
    key: verifierKey(key.origin, Buffer.from(key.x, "base64url")),
    privateKey: createPrivateKey({ key: { kty: key.kty, crv: key.crv, x: key.x, d: key.d }, format: "jwk" }),
  };
}

async function read(path: string): Promise<KeyFile | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) throw new Error(`${path} can be read by others: chmod 600 it, and rotate the ledger's key`);
  try {
    const key = JSON.parse(text) as KeyFile;
    signerOf(key);
    return key;
  } catch {
    // Told without the cause: it might repeat the key.
    throw new Error(`${path} is not the key of a ledger (an Ed25519 JWK with its origin): put the right one there`);
  }
}

/** Written whole under another name and then linked: whoever comes second finds the first one's key. */
async function make(directory: string): Promise<KeyFile> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, files.private);
  const draft = `${path}.${randomUUID()}`;
  await write(
    draft,
    `${JSON.stringify(newKey(`mission-control/${randomBytes(6).toString("hex")}`), undefined, 2)}\n`,
    0o600,
  );
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(draft);
  }
  const key = await read(path);
  if (key === undefined) throw new Error(`${path} was deleted while it was made: start again`);
  return key;
}

async function publish(directory: string, key: KeyFile): Promise<void> {
  const path = join(directory, files.public);
  const text = `${signerOf(key).key.text}\n`;
  if ((await readIfThere(path)) !== text) await replaceFile(path, text, 0o644);
}

async function write(path: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, "wx", mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
