import { toBase64 } from "../../proof/base64.ts";
import type { VerifiedExport } from "../../proof/export.ts";
import type { VerifierKey } from "../../proof/verifier-key.ts";
import type { Terminal } from "../terminal.ts";
import { count } from "./entries-progress.ts";
import { renderFields } from "./table.ts";

/** What was verified, for people. */
export function renderVerified(verified: VerifiedExport, key: VerifierKey, terminal: Terminal): string {
  const { checkpoint, entries, after, signed, prunings, acknowledgements, notCompared } = verified;
  const head = `${terminal.paint("VERIFIED", ["bold", "green"])}  ${count(entries)} entries of ${checkpoint.origin}\n`;
  return (
    head +
    renderFields([
      ["checkpoint", `${count(checkpoint.size)} entries, root ${toBase64(checkpoint.root)}`],
      ["key", key.text],
      ["signed", signed === 0 ? "" : `${count(signed)} by their callers`],
      ["begins behind", after === 0 ? "" : `entry ${count(after)}`],
      ...prunings.map(({ size, time }) => ["pruned", `the first ${count(size)} entries, ${time}`] as const),
      ...acknowledgements.map(
        ({ time, found, reason }) => ["ACKNOWLEDGED", `${time}: ${found}; it went on because: ${reason}`] as const,
      ),
      ...notCompared.map(
        ({ size }) => ["not compared", `the checkpoint of ${count(size)} entries is before it`] as const,
      ),
    ])
  );
}

/** The same for machines. */
export function verifiedJson(verified: VerifiedExport, key: VerifierKey): string {
  const { checkpoint, entries, after, signed, prunings, acknowledgements, notCompared } = verified;
  const result = {
    verified: true,
    origin: checkpoint.origin,
    treeSize: checkpoint.size,
    rootHash: toBase64(checkpoint.root),
    key: key.text,
    after,
    entries,
    signed,
    prunings: prunings.map(({ size, time }) => ({ size, time })),
    acknowledgements: acknowledgements.map(({ size, time, found, reason }) => ({ size, time, found, reason })),
    notCompared: notCompared.map(({ size }) => size),
  };
  return `${JSON.stringify(result)}\n`;
}
