import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Capabilities } from "../../../src/engines/engine.ts";

/**
 * Every clause of the contract, with a digest of its text: whoever changes a clause looks at its tests, then notes here what it
 * has become (clauses.test.ts says so).
 */
export const clauses = {
  "every.1": "0dcc5004",
  "every.2": "c5bf646b",
  "every.3": "8157f638",
  "every.4": "5f4f1b19",
  "every.5": "14a5a8c4",
  "every.6": "a30d87f1",
  "every.7": "c2ad9d0f",
  "probe.1": "622fb0c7",
  "list.1": "46a7c148",
  "list.2": "febf1406",
  "list.3": "58db8267",
  "open.1": "716621fb",
  "statuses.1": "65def691",
  "statuses.2": "3fe07fcb",
  "count.1": "5567572f",
  "handlersWith.1": "92298653",
  "get.1": "bc3b0a8c",
  "observe.1": "f4cd390b",
  "observe.2": "c1537dca",
  "observe.3": "36dd2d21",
  "timers.1": "b40a16b9",
  "pausedByGate.1": "8c4f6db4",
  "trace.1": "e09b5f7c",
  "trace.2": "0f15446f",
  "trace.3": "1c38e067",
  "changedSince.1": "a13bf558",
  "hold.1": "7f094190",
  "hold.2": "af2dd3bc",
  "hold.3": "93ec2b3b",
  "hold.4": "b9765a22",
  "release.1": "9f4281cb",
  "release.2": "90ba16a8",
  "release.3": "ab67ad19",
  "isId.1": "45f9923c",
} as const;

export type Clause = keyof typeof clauses;

/** What a test shows: clauses, and what an engine declares of itself. */
export type Shows = Clause | keyof Capabilities;

/** The clauses as the contract has them now, each with the digest of its text. */
export function contract(): Record<string, string> {
  const text = readFileSync(join(import.meta.dirname, "../../../src/engines/engine.ts"), "utf8");
  const found: Record<string, string> = {};
  // A clause goes up to the next one, or to the end of its comment.
  for (const [, name = "", said = ""] of text.matchAll(/^ *\* - `(\w+\.\d+)` (.*?)(?=\n *\* - `|\n *\*\/)/gms)) {
    const words = said.replaceAll(/\s*\n\s*\*\s*/g, " ").trim();
    found[name] = createHash("sha256").update(words).digest("hex").slice(0, 8);
  }
  return found;
}
