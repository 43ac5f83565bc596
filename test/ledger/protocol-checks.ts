import { existsSync, readFileSync } from "node:fs";
import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Store } from "../../src/store/store.ts";

/** An answer that a process of `protocol-process.ts` gave. */
export interface Answer {
  readonly entryId: string;
  readonly brakeId: string;
  /** Whether its outcome was written. */
  readonly ended: boolean;
}

/** The whole ledger, the oldest entry first. */
export async function allEntries(store: Store): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for (let before: bigint | undefined; ; ) {
    const { entries, lookedTo } = await store.listEntries({ limit: 1000, before });
    found.push(...entries);
    if (entries.length === 0 && lookedTo === undefined) return found.reverse();
    before = entries.at(-1)?.sequence ?? lookedTo;
  }
}

/** What the ledger does not tell as it was: answers without their entries, effects without their intents, intents left open. */
export async function toldWrongly(store: Store, answers: readonly Answer[], enginePath: string): Promise<string[]> {
  const wrong: string[] = [];
  const entries = await allEntries(store);
  const gap = entries.findIndex(({ sequence }, at) => Number(sequence) !== at + 1);
  if (gap !== -1) wrong.push(`entry ${gap + 1} is missing`);
  const intents = new Map(entries.filter(({ phase }) => phase === Phase.INTENT).map((entry) => [entry.entryId, entry]));
  const ends = Map.groupBy(
    entries.filter(({ phase }) => phase === Phase.OUTCOME),
    ({ intentEntryId }) => intentEntryId,
  );
  const effects = entries.filter(({ action }) => action === "brake.engaged");
  const effectOf = new Map(effects.map((effect) => [effect.intentEntryId, effect]));
  const brakes = new Map<string, AuditEntry>();
  for (const effect of effects) {
    const intent = intents.get(effect.intentEntryId);
    if (intent === undefined || intent.sequence > effect.sequence)
      wrong.push(`${effect.brakeId} has no intent before it`);
    if ((await store.brake(effect.brakeId)) === undefined) wrong.push(`${effect.brakeId} is told of, and is not there`);
    brakes.set(effect.brakeId, effect);
  }
  const asked = existsSync(enginePath) ? readFileSync(enginePath, "utf8").split("\n").slice(0, -1) : [];
  for (const brakeId of asked) if (!brakes.has(brakeId)) wrong.push(`the engine was asked for ${brakeId}, unseen`);
  for (const { entryId, brakeId, ended } of answers) {
    if (!intents.has(entryId)) wrong.push(`${entryId} was acknowledged and is lost`);
    if (brakeId !== "" && !brakes.has(brakeId)) wrong.push(`${brakeId} was acknowledged and is lost`);
    if (ended && ends.get(entryId)?.[0]?.message !== "")
      wrong.push(`the outcome of ${entryId} was acknowledged and is lost`);
  }
  for (const { entryId, action } of intents.values()) {
    const [end, ...more] = ends.get(entryId) ?? [];
    if (end === undefined || more.length > 0) wrong.push(`${entryId} has ${end ? more.length + 1 : 0} outcomes`);
    if (!end?.message.startsWith("settled at start")) continue;
    const expected = effectOf.has(entryId) ? "OK" : action === "runtime.pause" ? "ABORTED" : "UNKNOWN";
    if (end.resultCode !== expected)
      wrong.push(`${entryId} (${action}) was settled as ${end.resultCode}, not ${expected}`);
  }
  return wrong;
}
