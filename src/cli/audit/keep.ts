import { writeFileSync } from "node:fs";
import { usageFailure } from "../failure.ts";

/** Writes what was proven, or proves, to a file of the caller's. */
export function keep(what: string, path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600 });
  } catch (error) {
    throw usageFailure(`cannot write ${what}: ${(error as Error).message}`);
  }
}
