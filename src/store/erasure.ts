import type { DatabaseSync } from "node:sqlite";
import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { PersonalField as Field } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { Brake } from "./brake.ts";
import type { EntryIndex } from "./entry-index.ts";
import type { Erasure } from "./store.ts";
import type { StoredEntries } from "./stored-entries.ts";

/** Rows that are looked at in one transaction. */
const slice = 500;
/** What stands where a person's name or words were. */
const erased = "(erased)";

/**
 * Erases what tells who a person is: the personal values of their entries, their words and name in the system's entries about
 * what they did, and their name on brakes that are over. To be run in slices, each a transaction: it stops wherever one may
 * end, and can be begun anew after a crash. The index has to know all entries.
 */
export function* eraseSubject(
  subject: string,
  { db, entries, index }: { db: DatabaseSync; entries: StoredEntries; index: EntryIndex },
): Generator<void, Erasure> {
  const result = { entries: 0, brakes: 0, keptBrakeIds: [] as string[] };

  // The brakes first: they lead to entries that do not name the person as their caller.
  const page = db.prepare("SELECT position, json FROM brake WHERE position > ? ORDER BY position LIMIT ?");
  const unsettled = db.prepare("SELECT 1 FROM hold_page WHERE brake = ? AND unsettled > 0 LIMIT 1");
  const update = db.prepare("UPDATE brake SET json = ? WHERE position = ?");
  for (let position = 0; ; ) {
    const rows = page.all(position, slice);
    for (const row of rows) {
      position = Number(row.position);
      const brake = JSON.parse(row.json as string) as Brake;
      const without = withoutPerson(brake, subject);
      if (!without) continue;
      const over = brake.state === "RELEASED" || brake.state === "EXPIRED";
      if (!over || unsettled.get(position)) {
        if (result.keptBrakeIds.length < slice) result.keptBrakeIds.push(brake.brakeId);
        continue;
      }
      yield* about("brake", brake.brakeId);
      update.run(JSON.stringify(without), position);
      result.brakes += 1;
    }
    yield;
    if (rows.length < slice) break;
  }

  for (let after = 0; ; ) {
    const sequences = index.sequencesOf("subject", subject, after, slice);
    for (const sequence of sequences) {
      after = sequence;
      const entry = entries.get(sequence);
      // Two subjects may share a key.
      if (entry && entry.principal?.subject !== subject) continue;
      if (entry?.phase === Phase.INTENT) yield* about("intent", entry.entryId);
      entries.keepPersonal(sequence, []);
      index.forget("subject", subject, sequence);
      result.entries += 1;
    }
    yield;
    if (sequences.length < slice) break;
  }
  return result;

  /** The system's entries about an intent or a brake: their words are the person's, or name them. */
  function* about(kind: "intent" | "brake", id: string): Generator<void> {
    for (let after = 0; ; ) {
      const sequences = index.sequencesOf(kind, id, after, slice);
      for (const sequence of sequences) {
        after = sequence;
        const entry = entries.get(sequence);
        if (entry?.phase === Phase.SYSTEM) eraseWords(sequence, entry);
      }
      if (sequences.length < slice) break;
      yield;
    }
  }

  function eraseWords(sequence: number, entry: AuditEntry): void {
    const disclosures = entries.stored(sequence)?.disclosures ?? [];
    const names = entry.message.includes(subject);
    const kept = disclosures.filter(({ field }) => field !== Field.REASON && !(field === Field.MESSAGE && names));
    if (kept.length === disclosures.length) return;
    entries.keepPersonal(sequence, kept);
    result.entries += 1;
  }
}

/** The brake without the person; undefined where it does not name them. */
function withoutPerson(brake: Brake, subject: string): Brake | undefined {
  const { approval, release } = brake;
  const engaged = brake.engagedBy === subject;
  const approved = approval?.approvedBy === subject;
  const released = release?.by === subject;
  if (!engaged && !approved && !released) return undefined;
  return {
    ...brake,
    ...(engaged && { engagedBy: erased, reason: erased }),
    ...(approved && approval && { approval: { ...approval, approvedBy: erased } }),
    ...(released && release && { release: { ...release, by: erased, reason: erased } }),
  };
}
