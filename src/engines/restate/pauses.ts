/** What is read of `sys_journal_events` to tell who paused an invocation. */
export interface PauseRow {
  readonly id: string;
  /** "Paused" or "TransientError". */
  readonly event_type: string;
  readonly appended_at: string;
  readonly event_json: string;
}

/** How an invocation came to its latest pause. */
export interface LatestPause {
  /** True where a gate held its next step. */
  readonly byGate: boolean;
  readonly time: Date;
  /** Which commands have failed in an attempt, counted from 0 and without what else is in the journal: they did start. */
  readonly failedCommands: ReadonlySet<number>;
}

/** How the reason begins that `mission-control/gate` gives when it holds a step: the engine keeps it with the pause. */
const gatePrefix = "held by Mission Control: ";

/** The latest pause of each invocation. Rows in the order in which the events came. */
export function latestPauses(rows: readonly PauseRow[]): Map<string, LatestPause> {
  const latest = new Map<string, { byGate: boolean; time: Date; failedCommands: Set<number> }>();
  for (const { id, event_type, appended_at, event_json } of rows) {
    const found = latest.get(id) ?? { byGate: false, time: new Date(appended_at), failedCommands: new Set<number>() };
    latest.set(id, found);
    const event = JSON.parse(event_json) as {
      last_failure?: { error_message?: string };
      related_command_index?: number;
    };
    if (event_type === "Paused") {
      found.byGate = event.last_failure?.error_message?.startsWith(gatePrefix) === true;
      found.time = new Date(appended_at);
    } else if (event.related_command_index !== undefined) found.failedCommands.add(event.related_command_index);
  }
  return latest;
}
