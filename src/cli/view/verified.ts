import { toBase64 } from "../../proof/base64.ts";
import type { Cosignature } from "../../proof/cosignature.ts";
import type { VerifiedExport } from "../../proof/export.ts";
import type { SignatureReport, SignedByKey } from "../../proof/operator-signatures.ts";
import type { VerifierKey } from "../../proof/verifier-key.ts";
import type { Terminal } from "../terminal.ts";
import { count } from "./entries-progress.ts";
import { renderFields } from "./table.ts";

/** What was verified, for people. */
export function renderVerified(verified: VerifiedExport, key: VerifierKey, terminal: Terminal): string {
  const { checkpoint, entries, after, personal, signatures, cosignatures, prunings, acknowledgements, notCompared } =
    verified;
  const head = `${terminal.paint("VERIFIED", ["bold", "green"])}  ${count(entries)} entries of ${checkpoint.origin}\n`;
  return (
    head +
    renderFields([
      ["checkpoint", `${count(checkpoint.size)} entries, root ${toBase64(checkpoint.root)}`],
      ["key", key.text],
      ...cosignatures.map((one) => ["witness", witnessLine(one)] as const),
      ...signatures.checked.map(({ key, ...one }) => ["signed", `by ${key.text}: ${signedEntries(one)}`] as const),
      ["unchecked", uncheckedSignatures(signatures)],
      ["missing", missingValues(personal)],
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

/** When a witness signed the checkpoint. */
export function witnessLine({ key, time }: Cosignature): string {
  return `${key.text} at ${time.toISOString()}`;
}

function signedEntries({ count: signed, ranges }: Pick<SignedByKey, "count" | "ranges">): string {
  const shown = ranges.slice(0, 10).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  const rest = ranges.length > shown.length ? ", …" : "";
  return `${count(signed)} entries (${shown.join(", ")}${rest})`;
}

/** Where some came and some did not, they were erased: the ledger has who erased what. "": all came, or none was asked for. */
function missingValues({ told, missing }: VerifiedExport["personal"]): string {
  if (told === 0 || missing === 0) return "";
  return `${count(missing)} of ${count(told + missing)} personal values (erased: mctl audit list --action audit.erase)`;
}

/** What is not proved to be of who is named as the caller, and what to do about it; "": nothing. */
function uncheckedSignatures({ unknown, absent }: SignatureReport): string {
  const parts = [
    unknown > 0 ? `${count(unknown)} signatures by keys that were not given (mctl audit verify --operator-keys)` : "",
    absent > 0 ? `${count(absent)} signatures that are not told (erased, left out, or not asked for)` : "",
  ];
  return parts.filter(Boolean).join("; ");
}

/** The same for machines. */
export function verifiedJson(verified: VerifiedExport, key: VerifierKey): string {
  const { checkpoint, entries, after, personal, signatures, cosignatures, prunings, acknowledgements, notCompared } =
    verified;
  const result = {
    verified: true,
    origin: checkpoint.origin,
    treeSize: checkpoint.size,
    rootHash: toBase64(checkpoint.root),
    key: key.text,
    after,
    entries,
    personal,
    cosignatures: cosignatures.map(({ key: { text }, time }) => ({ key: text, time })),
    signatures: {
      checked: signatures.checked.map(({ key, count, ranges }) => ({
        key: key.text,
        count,
        entries: ranges.map(([first, last]) => [String(first), String(last)]),
      })),
      unknown: signatures.unknown,
      absent: signatures.absent,
    },
    prunings: prunings.map(({ size, time }) => ({ size, time })),
    acknowledgements: acknowledgements.map(({ size, time, found, reason }) => ({ size, time, found, reason })),
    notCompared: notCompared.map(({ size }) => size),
  };
  return `${JSON.stringify(result)}\n`;
}
