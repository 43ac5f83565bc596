import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { PersonalField } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { ProofError } from "./proof-error.ts";
import { signatureOf } from "./signed-request.ts";
import { parseVerifierKey, type VerifierKey } from "./verifier-key.ts";

/** Ranges of entries that are told of one key; what is behind them is counted only. */
const maxRanges = 100;

/** An operator's public key, as whoever verifies knows it. */
export interface KnownKey {
  readonly key: VerifierKey;
  /** Whose it is, by their tokens; undefined: not said, any caller's. */
  readonly owner: { readonly issuer: string; readonly subject: string } | undefined;
}

/** What was signed by one of the known keys. */
export interface SignedByKey {
  readonly key: VerifierKey;
  readonly count: number;
  /** The first and last sequences of runs of entries, at most 100. */
  readonly ranges: readonly (readonly [bigint, bigint])[];
}

/** What became of the signatures of callers. */
export interface SignatureReport {
  /** Known keys, each with what it signed: the signature holds, and the key is that of who called. */
  readonly checked: readonly SignedByKey[];
  /** Entries signed by a key that is not known: the signature is over the call, but whose it is, is not proved. */
  readonly unknown: number;
  /** Entries whose signature did not come with them: it was left out, or erased. */
  readonly absent: number;
}

/**
 * Reads operators' keys: on each line a key, or the issuer and the subject whose it is and the key; empty lines and those that
 * begin with "#" are passed over. Throws ProofError with the line that is none.
 */
export function parseOperatorKeys(text: string): KnownKey[] {
  return text.split("\n").flatMap((line, at): KnownKey[] => {
    const parts = line.trim().split(/\s+/);
    if (parts[0] === "" || parts[0]?.startsWith("#")) return [];
    const [issuer = "", subject = "", key = ""] = parts.length === 1 ? ["", "", ...parts] : parts;
    if (parts.length > 3 || key === "") {
      throw new ProofError(`line ${at + 1} is neither a key nor "ISSUER SUBJECT KEY"`);
    }
    try {
      return [{ key: parseVerifierKey(key), owner: parts.length === 1 ? undefined : { issuer, subject } }];
    } catch (error) {
      throw new ProofError(`line ${at + 1}: ${error instanceof Error ? error.message : error}`);
    }
  });
}

/** Holds the signatures in entries against the operators' keys that are known. */
export class OperatorSignatures {
  readonly #known: readonly KnownKey[];
  readonly #checked = new Map<string, { key: VerifierKey; count: number; ranges: [bigint, bigint][] }>();
  #unknown = 0;
  #absent = 0;

  constructor(known: readonly KnownKey[] = []) {
    this.#known = known;
  }

  /** Throws ProofError where the signature is of another call, or by a known key of somebody else. */
  take(entry: AuditEntry): void {
    const { sequence, principal, commitments } = entry;
    const signed = signatureOf(entry);
    if (signed === undefined) {
      if (commitments.some(({ field }) => field === PersonalField.REQUEST_SIGNATURE)) this.#absent += 1;
      return;
    }
    const { key } = signed;
    const same = this.#known.filter((one) => one.key.text === key.text);
    if (same.length === 0) {
      this.#unknown += 1;
      return;
    }
    const isTheirs = ({ owner }: KnownKey) =>
      owner === undefined || (owner.issuer === principal?.issuer && owner.subject === principal?.subject);
    if (!same.some(isTheirs)) {
      throw new ProofError(
        `entry ${sequence} is of ${principal?.subject || "somebody"}, and signed by the key of ${same[0]?.owner?.subject}`,
      );
    }
    const found = this.#checked.get(key.text) ?? { key, count: 0, ranges: [] };
    this.#checked.set(key.text, found);
    found.count += 1;
    const last = found.ranges.at(-1);
    if (last?.[1] === sequence - 1n) last[1] = sequence;
    else if (found.ranges.length < maxRanges) found.ranges.push([sequence, sequence]);
  }

  get report(): SignatureReport {
    return { checked: [...this.#checked.values()], unknown: this.#unknown, absent: this.#absent };
  }
}
