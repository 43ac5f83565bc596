import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { AuditEntrySchema, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { NotesOfEntries, notedActions } from "../../src/proof/notes-of-entries.ts";

const root = new Uint8Array(32);
const pruning = (size: number) => ({ origin: "log", size, root, time: "2026-11-28T00:00:00.000Z" });
const none = { rotations: 0, prunings: [], acknowledgements: [] };

it.each([
  [Phase.OUTCOME, notedActions.rotated, "a rotation of its key"],
  [Phase.SYSTEM, notedActions.pruned, "a pruning"],
  [Phase.SYSTEM, notedActions.acknowledged, "an acknowledged rollback"],
])("a note that the entries tell of and that is missing is found (%s %s)", (phase, action, what) => {
  const notes = new NotesOfEntries();
  notes.compare(none);
  notes.take(create(AuditEntrySchema, { phase, action, resultCode: "OK" }));
  expect(() => notes.compare(none)).toThrow(`tell of ${what}, and its note is missing`);
});

it("notes that are not in their order are found", () => {
  const notes = new NotesOfEntries();
  notes.compare({ ...none, prunings: [pruning(256), pruning(512)] });
  expect(() => notes.compare({ ...none, prunings: [pruning(512), pruning(256)] })).toThrow("not in their order");
});
