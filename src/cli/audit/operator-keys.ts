import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type KnownKey, parseOperatorKeys } from "../../proof/operator-signatures.ts";
import { ProofError } from "../../proof/proof-error.ts";
import { usageFailure } from "../failure.ts";

/** Operators' public keys: of a file, or of all files of a folder. Throws a usage failure where one is none, or there is none. */
export function readOperatorKeys(path: string): KnownKey[] {
  const keys = filesOf(path).flatMap((file) => {
    try {
      return parseOperatorKeys(readFileSync(file, "utf8"));
    } catch (error) {
      const { message } = error as Error;
      throw usageFailure(error instanceof ProofError ? `${file}: ${message}` : `cannot read ${file}: ${message}`);
    }
  });
  if (keys.length === 0) throw usageFailure(`${path} has no operators' keys in it`);
  return keys;
}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const inside = readdirSync(path, { withFileTypes: true });
    return inside.filter((one) => !one.isDirectory()).map(({ name }) => join(path, name));
  } catch (error) {
    throw usageFailure(`cannot read the operators' keys: ${(error as Error).message}`);
  }
}
