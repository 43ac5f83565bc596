import { setTimeout as delay } from "node:timers/promises";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Drills } from "../brakes/drill.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import { defaultDrillWaitMs } from "./drill.ts";

/** Between two drills, ms: more often it would be a load, not a test. */
export const minDrillEveryMs = 60_000;

/** Drills on every engine that has a canary, one after the other, again and again. */
export class DrillSchedule {
  readonly #drills: Pick<Drills, "engines" | "run">;
  readonly #ledger: Ledger;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(drills: Pick<Drills, "engines" | "run">, ledger: Ledger, log: Logger) {
    this.#drills = drills;
    this.#ledger = ledger;
    this.#log = log;
  }

  /** The first ones after `everyMs`. */
  start(everyMs: number): void {
    this.#running = this.#loop(everyMs);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #loop(everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await delay(everyMs, undefined, { signal }).catch(() => undefined);
      for (const engine of this.#drills.engines) {
        if (signal.aborted) return;
        await this.#drill(engine, signal);
      }
      if (signal.aborted) return;
    }
  }

  /** One that cannot be done now (somebody else drills, an incident holds the canary) is left out. */
  async #drill(engine: string, signal: AbortSignal): Promise<void> {
    const reason = "scheduled drill";
    try {
      const entry = { phase: Phase.SYSTEM, action: "brake.drill.scheduled", engine, reason };
      const { entryId } = await this.#ledger.append(entry);
      await this.#drills.run({ engine, reason, subject: "", entryId, waitMs: defaultDrillWaitMs, signal });
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ err: error, engine }, "a scheduled drill was left out");
    }
  }
}
