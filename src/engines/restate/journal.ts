import type { EngineTraceEntry, ObservedStep } from "../engine.ts";
import { firstLine } from "./rows.ts";

/** What is read of `sys_journal`. `entry_lite_json` has no payloads: what an agent was given or answered is never read. */
export const journalColumns = `id, "index", entry_type, name, promise_name, appended_at, entry_lite_json`;

export interface JournalRow {
  readonly id: string;
  readonly index: number;
  /** "Command: Run", "Notification: Run", … */
  readonly entry_type: string;
  readonly name?: string;
  readonly promise_name?: string;
  readonly appended_at?: string;
  readonly entry_lite_json?: string;
}

/** What is read of `sys_journal_events`. */
export interface EventRow {
  readonly after_journal_entry_index: number;
  readonly appended_at: string;
  readonly event_type: string;
  readonly event_json: string;
}

/** The parts of a command or notification that pair them; the rest is left alone. */
interface Lite {
  readonly Command?: Record<string, CommandFields>;
  readonly Notification?: { readonly id?: { readonly CompletionId?: number }; readonly result?: string };
}
interface CommandFields {
  readonly completion_id?: number;
  readonly result_completion_id?: number;
  /** When a sleep is due to end, ms since the epoch. The column sleep_wakeup_at is empty in today's journals. */
  readonly wake_up_time?: number;
  readonly invocation_id?: string;
  readonly invocation_target?: Record<string, { name?: string; handler?: string; key?: string }>;
  readonly result?: string;
}

/** The steps of one journal. Rows in journal order. */
export function stepsOf(rows: readonly JournalRow[]): ObservedStep[] {
  const ended = completions(rows);
  return rows
    .filter((row) => row.entry_type === "Command: Run")
    .map((row) => {
      const end = ended.get(completionIdOf(commandOf(row)) ?? -1);
      return {
        index: row.index,
        name: row.name ?? "",
        startTime: appended(row),
        endTime: end?.time,
        succeeded: end?.succeeded === true,
        failing: false,
      };
    });
}

/** When the sleep of a row is due to end; undefined where it does not say. */
export function wakeUpTime(row: JournalRow): Date | undefined {
  const time = commandOf(row)?.wake_up_time;
  return time === undefined ? undefined : new Date(time);
}

/** The timeline of one journal, its events and the invocation's own end. */
export function traceOf(
  rows: readonly JournalRow[],
  events: readonly EventRow[],
  invocation: { readonly ended: boolean; readonly canceled: boolean },
): EngineTraceEntry[] {
  const ended = completions(rows);
  const entries: EngineTraceEntry[] = [];
  for (const row of rows) {
    const [side, word = ""] = row.entry_type.split(": ");
    if (side !== "Command") {
      if (word === "Signal") entries.push(moment("await", "signal", appended(row), "succeeded"));
      continue;
    }
    const command = commandOf(row);
    const startTime = appended(row);
    if (word === "Input") {
      entries.push(moment("started", "input", startTime, "none"));
      continue;
    }
    if (word === "Output") {
      entries.push(moment("ended", "output", startTime, command?.result === "Failure" ? "failed" : "succeeded"));
      continue;
    }
    const completionId = completionIdOf(command);
    const kind = kindOf(word);
    const name = nameOf(word, row, command);
    if (completionId === undefined || kind === "send") {
      entries.push({ ...moment(kind, name, startTime, "none"), childId: command?.invocation_id });
      continue;
    }
    const end = ended.get(completionId);
    entries.push({
      kind,
      name,
      startTime,
      endTime: end?.time,
      outcome: end ? (end.succeeded ? "succeeded" : "failed") : invocation.ended ? "canceled" : "inFlight",
      errorMessage: "",
      childId: command?.invocation_id,
      dueTime: command?.wake_up_time === undefined ? undefined : new Date(command.wake_up_time),
    });
  }
  for (const event of events) {
    const at = new Date(event.appended_at);
    if (event.event_type === "Paused") entries.push(moment("paused", "paused", at, "none"));
    else if (event.event_type === "TransientError") entries.push(failedAttempt(event, at));
  }
  // Equal times keep their order: commands before what the engine noted about them.
  return entries.sort((a, b) => a.startTime.getTime() - b.startTime.getTime());
}

function failedAttempt(event: EventRow, at: Date): EngineTraceEntry {
  const error = JSON.parse(event.event_json) as { error_message?: string; related_command_name?: string };
  return {
    ...moment("attemptFailed", error.related_command_name ?? "", at, "failed"),
    errorMessage: firstLine(error.error_message).slice(0, 4096),
  };
}

function moment(
  kind: EngineTraceEntry["kind"],
  name: string,
  at: Date,
  outcome: EngineTraceEntry["outcome"],
): EngineTraceEntry {
  return {
    kind,
    name,
    startTime: at,
    endTime: undefined,
    outcome,
    errorMessage: "",
    childId: undefined,
    dueTime: undefined,
  };
}

function completions(rows: readonly JournalRow[]): Map<number, { time: Date; succeeded: boolean }> {
  const result = new Map<number, { time: Date; succeeded: boolean }>();
  for (const row of rows) {
    if (!row.entry_type.startsWith("Notification: ")) continue;
    const notification = parse(row).Notification;
    const id = notification?.id?.CompletionId;
    if (id !== undefined) result.set(id, { time: appended(row), succeeded: notification?.result !== "Failure" });
  }
  return result;
}

function commandOf(row: JournalRow): CommandFields | undefined {
  return Object.values(parse(row).Command ?? {})[0];
}

/** A call completes twice: with the child's id at once, with its result in the end. The end is what counts. */
function completionIdOf(command: CommandFields | undefined): number | undefined {
  return command?.result_completion_id ?? command?.completion_id;
}

function kindOf(word: string): EngineTraceEntry["kind"] {
  if (word === "Run") return "step";
  if (word === "Sleep") return "sleep";
  if (word === "Call" || word === "AttachInvocation") return "call";
  if (word === "OneWayCall") return "send";
  if (/Promise|Awakeable|Signal/.test(word)) return "await";
  if (/State/.test(word)) return "state";
  return "other";
}

function nameOf(word: string, row: JournalRow, command: CommandFields | undefined): string {
  const target = Object.values(command?.invocation_target ?? {})[0];
  if (target) return [target.name, target.key, target.handler].filter((part) => part !== undefined).join("/");
  return row.name || row.promise_name || word;
}

function parse(row: JournalRow): Lite {
  return row.entry_lite_json === undefined ? {} : (JSON.parse(row.entry_lite_json) as Lite);
}

function appended(row: JournalRow): Date {
  return new Date(row.appended_at ?? 0);
}
