import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Acknowledgement, Pruning } from "./log-notes.ts";
import { ProofError } from "./proof-error.ts";

/** The actions of the entries that are written behind a signed note of the log's own. */
export const notedActions = {
  rotated: "audit.rotate_key",
  pruned: "ledger.pruned",
  acknowledged: "ledger.rollback_acknowledged",
} as const;

/**
 * The entries that say of a signed note that it is there: who leaves the note out of an export is contradicted by them. The
 * note is written first, so that a crash between leaves a note without an entry, and never the other way round.
 */
export class NotesOfEntries {
  #rotated = 0;
  #pruned = 0;
  #acknowledged = 0;

  take({ phase, action, resultCode }: AuditEntry): void {
    if (phase === Phase.OUTCOME && action === notedActions.rotated && resultCode === "OK") this.#rotated += 1;
    if (phase !== Phase.SYSTEM) return;
    if (action === notedActions.pruned) this.#pruned += 1;
    if (action === notedActions.acknowledged) this.#acknowledged += 1;
  }

  /** Throws ProofError where there are fewer notes than the entries tell of. */
  compare(notes: {
    readonly rotations: number;
    readonly prunings: readonly Pruning[];
    readonly acknowledgements: readonly Acknowledgement[];
  }): void {
    const missing =
      this.#rotated > notes.rotations
        ? "a rotation of its key"
        : this.#pruned > notes.prunings.length
          ? "a pruning"
          : this.#acknowledged > notes.acknowledgements.length
            ? "an acknowledged rollback"
            : undefined;
    if (missing !== undefined) throw new ProofError(`the ledger's entries tell of ${missing}, and its note is missing`);
    assertAscending(notes.prunings.map(({ size }) => size));
    assertAscending(notes.acknowledgements.map(({ time }) => time));
  }
}

function assertAscending(values: readonly (string | number)[]): void {
  if (values.every((value, n) => n === 0 || value > (values[n - 1] as typeof value))) return;
  throw new ProofError("the log's notes are not in their order");
}
