import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Checkpoint, parseCheckpoint } from "../../proof/checkpoint.ts";
import { parseWitnessKey } from "../../proof/cosignature.ts";
import { parseNote } from "../../proof/note.ts";
import { ProofError } from "../../proof/proof-error.ts";
import { parseVerifierKey, type VerifierKey } from "../../proof/verifier-key.ts";
import { findInDataDir } from "../data-dir.ts";
import { usageFailure } from "../failure.ts";
import type { Flags, Host } from "../session.ts";
import { dataDir } from "../settings.ts";

/** Where the server keeps them, below its data directory. */
const keyFile = join("ledger-key", "verifier.key");
const checkpointFile = join("checkpoints", "checkpoint");

/** What a ledger is verified by: it has to come from elsewhere than from who is asked. */
export interface Trust {
  readonly key: VerifierKey;
  /** The server's data directory, where the key was found in it. */
  readonly dataDir: string | undefined;
}

/**
 * The log's key as given, or as it is in the data directory on this machine; undefined: there is none.
 *
 * @param given the key itself, or a file with it.
 * @throws a usage failure where it is none.
 */
export function findTrust(given: string | undefined, host: Host, flags: Flags): Trust | undefined {
  if (given?.includes("+")) return { key: parseKey(given, "--key"), dataDir: undefined };
  const path =
    given === undefined ? findInDataDir(keyFile, host.cwd, dataDir(flags, host.env)) : resolve(host.cwd, given);
  if (path === undefined) return undefined;
  const key = parseKey(read(path, "the log's key"), path);
  return { key, dataDir: given === undefined ? dirname(dirname(path)) : undefined };
}

/** The same; throws a usage failure that says what to do where there is none. */
export function requiredTrust(given: string | undefined, host: Host, flags: Flags): Trust {
  const trust = findTrust(given, host, flags);
  if (trust !== undefined) return trust;
  throw usageFailure(
    "there is no key to verify by: --key names the log's public key, or a file with it (verifier.key in the folder ledger-key " +
      "of the server's data directory)",
  );
}

/** A witness' public key as given, or in the file of that name. Throws a usage failure where it is none. */
export function readWitnessKey(given: string, host: Host): VerifierKey {
  const isKey = given.includes("+");
  const text = isKey ? given : read(resolve(host.cwd, given), "the witness' key");
  return parseKey(text, isKey ? "--witness-key" : given, parseWitnessKey);
}

/** The checkpoint in a file. Throws a usage failure where there is none. */
export function readCheckpoint(path: string): Checkpoint {
  const note = read(path, "the checkpoint");
  try {
    return parseCheckpoint(parseNote(note).text);
  } catch (error) {
    if (error instanceof ProofError) throw usageFailure(`${path}: ${error.message}`);
    throw error;
  }
}

/** The checkpoint that the server published last into its data directory; undefined: none is there. */
export function publishedCheckpoint({ dataDir: directory }: Trust): Checkpoint | undefined {
  const path = directory === undefined ? undefined : findInDataDir(checkpointFile, "", directory);
  return path === undefined ? undefined : readCheckpoint(path);
}

function parseKey(text: string, where: string, parse = parseVerifierKey): VerifierKey {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ProofError) throw usageFailure(`${where}: ${error.message}`);
    throw error;
  }
}

function read(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw usageFailure(`cannot read ${what}: ${(error as Error).message}`);
  }
}
