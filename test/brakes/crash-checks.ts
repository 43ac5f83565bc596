import { type AuditEntry, AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Brake } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { statusName } from "../../src/brakes/status.ts";
import type { CrashCall, Known } from "./crash-calls.ts";
import type { CrashFleet, Shown } from "./crash-fleet.ts";
import type { Caller } from "./crash-process.ts";

/** The engine's words for what cannot be halted before it begins. */
const notBegun = ["scheduled", "pending"];

/** All brakes in these states, or in any. */
export async function brakesIn({ brakes }: Caller, ...state: State[]): Promise<Brake[]> {
  const found: Brake[] = [];
  let pageToken = "";
  do {
    const page = await brakes.listBrakes({ state, pageSize: 100, pageToken });
    found.push(...page.brakes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** What is not as the acknowledged brakes say, by the engine's word and by the server's. */
export async function heldWrongly(caller: Caller, fleet: CrashFleet, known: readonly Known[]): Promise<string[]> {
  const wrong: string[] = [];
  const active = await brakesIn(caller, State.ENGAGED, State.AWAITING_APPROVAL);
  const engaged = active.filter(({ state }) => state === State.ENGAGED);
  const shown = await fleet.open();
  const { workflows } = await caller.control.listWorkflows({
    status: [Status.PAUSED, Status.PAUSING, Status.RESUMING],
    pageSize: 500,
  });

  // Every acknowledged brake stands that nobody has asked to release, and whose time has not come.
  const ids = new Set(active.map(({ brakeId }) => brakeId));
  for (const { call, releasing, expires, workflowIds } of known) {
    if (call.told === undefined || releasing || expires || ids.has(call.told.brakeId)) continue;
    const over = call.what === "pause" && !shown.some(({ id }) => `restate:${id}` === workflowIds[0]);
    if (!over) wrong.push(`${call.reason}: ${call.told.brakeId} is gone`);
  }
  // It holds all that it matches, children of what it holds too.
  for (const brake of engaged) {
    if (brake.release?.staged !== undefined && brake.release.haltedBecause === "") continue;
    for (const { id, status } of matchedBy(brake, shown)) {
      if (status !== "paused" && !notBegun.includes(status))
        wrong.push(`${brake.reason} does not hold ${id}: ${status}`);
    }
  }
  // What stands is held by one of them, and by nothing else; what is released goes on.
  const holding = new Set(engaged.map(({ brakeId }) => brakeId));
  const seen = new Map(workflows.map((workflow) => [workflow.workflowId, workflow]));
  for (const { id, status } of shown) {
    const workflow = seen.get(`restate:${id}`);
    const name = statusName(workflow?.status ?? Status.STATUS_UNSPECIFIED);
    const holds = workflow?.holds ?? [];
    if (status === "paused" && !holds.some((hold) => holding.has(hold.brakeId)))
      wrong.push(`${id} stands and nobody holds it (${name})`);
    if (status === "paused" && name !== "PAUSED") wrong.push(`${id} stands and is ${name}`);
    if (status !== "paused" && name === "PAUSED") wrong.push(`${id} is PAUSED and ${status}`);
    if (name === "PAUSING" && !notBegun.includes(status)) wrong.push(`${id} is PAUSING and ${status}`);
    if (name === "RESUMING") wrong.push(`${id} is RESUMING and ${status}`);
    if (holds.some((hold) => hold.external)) wrong.push(`${id} is taken for paused by somebody else`);
  }
  return wrong;
}

function matchedBy(brake: Brake, shown: readonly Shown[]): Shown[] {
  const { types = [], workflowIds = [] } = brake.selector ?? {};
  const matched = new Set(
    shown.filter(({ id, type }) =>
      workflowIds.length > 0 ? workflowIds.includes(`restate:${id}`) : types.includes(type),
    ),
  );
  const ids = new Set([...matched].map(({ id }) => id));
  // Only the children of parents have children here.
  for (const one of shown) if (brake.includeDescendants && ids.has(one.parentId ?? "")) matched.add(one);
  return [...matched];
}

/** What is wrong in the ledger: effects without their intents, intents without their outcomes, calls that did two things. */
export async function toldWrongly(caller: Caller, calls: readonly CrashCall[]): Promise<string[]> {
  const wrong: string[] = [];
  const entries = await allEntries(caller);
  const intents = new Map(entries.filter(({ phase }) => phase === Phase.INTENT).map((entry) => [entry.entryId, entry]));
  const outcomes = Map.groupBy(
    entries.filter(({ phase }) => phase === Phase.OUTCOME),
    (entry) => entry.intentEntryId,
  );
  for (const { entryId, reason } of intents.values()) {
    const ends = outcomes.get(entryId)?.length ?? 0;
    if (ends !== 1) wrong.push(`the intent of "${reason}" has ${ends} outcomes`);
  }
  for (const { brakeId, auditEntryId, reason } of await brakesIn(caller)) {
    if (!intents.has(auditEntryId)) wrong.push(`${brakeId} of "${reason}" has no intent`);
  }
  const effects = entries.filter(({ phase, intentEntryId }) => phase === Phase.SYSTEM && intentEntryId !== "");
  for (const { action, intentEntryId, sequence } of effects) {
    const intent = intents.get(intentEntryId);
    if (intent === undefined || intent.sequence >= sequence)
      wrong.push(`${action} ${sequence} comes without its intent`);
  }
  const byReason = Map.groupBy(effects, ({ reason }) => reason);
  for (const { what, reason, told, refused } of calls) {
    const did = byReason.get(reason)?.length ?? 0;
    // A pause may find itself held already, a resume released; one that others hold is told so after its own was released.
    const most = told !== undefined || refused === "HELD_BY_OTHER_BRAKES" ? 1 : 0;
    const least = told !== undefined && what !== "pause" && what !== "resume" ? 1 : 0;
    if (did < least || did > most) wrong.push(`"${reason}" (${refused ?? "acknowledged"}) took effect ${did} times`);
  }
  return wrong;
}

/** How many calls had taken effect when a crash cut their answer off. */
export async function cutOffAfterEffect(caller: Caller): Promise<number> {
  return (await allEntries(caller)).filter(({ message }) => message.startsWith("settled at start: it had taken"))
    .length;
}

async function allEntries({ audit }: Caller): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  let pageToken = "";
  do {
    const phase = [Phase.INTENT, Phase.OUTCOME, Phase.SYSTEM];
    const page = await audit.listAuditEntries({ phase, pageSize: 500, pageToken });
    found.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}
