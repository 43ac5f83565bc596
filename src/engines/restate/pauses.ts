/** What is read of `sys_journal_events` to tell who paused an invocation. */
export interface PauseRow {
  readonly id: string;
  readonly event_json: string;
}

/** How an invocation came to its latest pause. */
export interface LatestPause {
  /** True where a gate held its next step. */
  readonly byGate: boolean;
  /** The journal's index of the step that the gate held: it is there, but never started. Undefined where there is none. */
  readonly heldIndex: number | undefined;
}

/** How the reason begins that `mission-control/gate` gives when it holds a step: the engine keeps it with the pause. */
const gatePrefix = "held by Mission Control: ";

/** The latest pause of each invocation. Rows in the order in which the events came. */
export function latestPauses(rows: readonly PauseRow[]): Map<string, LatestPause> {
  const latest = new Map<string, LatestPause>();
  for (const { id, event_json } of rows) {
    const { last_failure: failure } = JSON.parse(event_json) as {
      last_failure?: { error_message?: string; related_command_index?: number };
    };
    const byGate = failure?.error_message?.startsWith(gatePrefix) === true;
    latest.set(id, { byGate, heldIndex: byGate ? failure?.related_command_index : undefined });
  }
  return latest;
}
