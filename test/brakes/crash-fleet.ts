import type { TestEngine } from "../fixture/restate.ts";
import type { Random } from "./crash-random.ts";
import { stepNames } from "./suites/ran.ts";

/** A workflow as the engine shows it. */
export interface Shown {
  readonly id: string;
  /** The engine's own word. */
  readonly status: string;
  readonly type: string;
  readonly parentId: string | undefined;
}

/** What is started: a target, its input, how many steps it has; `again`: steps may be tried several times. */
const kinds = [
  { target: "Steps/run", input: { count: 6, ms: 40 }, steps: 6 },
  { target: "Steps/run", input: { count: 3, ms: 150 }, steps: 3, delayMs: 300 },
  { target: "SuspendedAwaiter/run", input: {}, steps: 2 },
  { target: "Awaiter/run", input: {}, steps: 2 },
  { target: "SuspendedSleeper/run", input: { ms: 400 }, steps: 2 },
  { target: "Sleeper/run", input: { ms: 200 }, steps: 2 },
  { target: "Parallel/run", input: { ms: 40 }, steps: 5 },
  { target: "Queue/a/work", input: { count: 3, ms: 40 }, steps: 3 },
  { target: "Queue/b/work", input: { count: 2, ms: 60 }, steps: 2 },
  { target: "Parent/run", input: { count: 3, ms: 40 }, steps: 2 },
  { target: "Flaky/run", input: { failures: 2 }, steps: 3, again: true },
] as const;

export const types = [...new Set(kinds.map(({ target }) => target.split("/")[0] ?? ""))];

/** A small fleet of mixed kinds that keeps moving. */
export class CrashFleet {
  readonly #engine: TestEngine;
  readonly #random: Random;
  readonly #started = new Map<string, (typeof kinds)[number]>();

  constructor(engine: TestEngine, random: Random) {
    this.#engine = engine;
    this.#random = random;
  }

  async start(count: number): Promise<void> {
    const chosen = Array.from({ length: count }, () => this.#random.pick(kinds));
    await Promise.all(
      chosen.map(async (kind) => {
        const options = "delayMs" in kind ? { delayMs: kind.delayMs } : {};
        this.#started.set(await this.#engine.start(kind.target, kind.input, options), kind);
      }),
    );
  }

  /** All that are open, children too. */
  async open(): Promise<Shown[]> {
    const rows = await this.#engine.query<{ id: string; status: string; type: string; parent?: string }>(
      `SELECT id, status, target_service_name AS type, invoked_by_id AS parent FROM sys_invocation WHERE status <> 'completed'`,
    );
    return rows.map(({ id, status, type, parent }) => ({ id, status, type, parentId: parent }));
  }

  /** Sends the signals that some of them wait for, held or not. */
  async signal(share: number): Promise<void> {
    // Those that have made both their steps: the first one, and the one that tells what they wait for.
    const waiting = await this.#engine.query<{ id: string }>(
      `SELECT id FROM sys_journal WHERE entry_type = 'Notification: Run' AND id IN
       (SELECT id FROM sys_invocation_status WHERE status <> 'completed' AND target_service_name LIKE '%Awaiter')
       GROUP BY id HAVING count(*) = 2`,
    );
    for (const { id } of waiting) if (this.#random.below(1) < share) await this.#engine.resolveAwakeable(id);
  }

  /** What did not run as it should: steps that never ended, and, unless `rerun`, such as began more than once. */
  faults(rerun: boolean): string[] {
    const faults: string[] = [];
    for (const [id, { target, steps, ...kind }] of this.#started) {
      for (const step of stepNames(steps)) {
        const events = this.#engine.steps.of(id, step);
        const [starts, ends] = (["start", "end"] as const).map(
          (what) => events.filter(({ event }) => event === what).length,
        );
        if (ends === 0) faults.push(`${step} of ${target} ${id} never ended`);
        else if (starts !== 1 && !rerun && !("again" in kind))
          faults.push(`${step} of ${target} ${id} ran ${starts} times`);
      }
    }
    return faults;
  }
}
