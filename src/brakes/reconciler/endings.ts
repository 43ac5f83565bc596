import { endedStatuses } from "../../engines/engine.ts";
import { settled } from "../halt.ts";
import { countOf, type EngineBrakes } from "./engine-brakes.ts";

/**
 * How long an engine has to deny a workflow, round after round, until it is believed, ms: one that restarts answers for a
 * while without a part of its workflows.
 */
const believeMs = 60_000;

/** Settles holds on workflows that have ended. */
export class Endings {
  readonly #on: EngineBrakes;
  /** Since when the engine denies to know it. */
  readonly #missing = new Map<string, number>();

  constructor(on: EngineBrakes) {
    this.#on = on;
  }

  /** Of these the engine shows nothing open: what it says has ended is settled, what it denies is watched. */
  async round(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const now = Date.now();
    const shown = new Map((await this.#on.engine.get(ids, this.#on.signal)).map((workflow) => [workflow.id, workflow]));
    const over = ids.filter((id) => {
      const workflow = shown.get(id);
      if (workflow) {
        this.#missing.delete(id);
        return endedStatuses.includes(workflow.status);
      }
      const since = this.#missing.get(id) ?? now;
      this.#missing.set(id, since);
      return now - since >= believeMs;
    });
    const ended = over.flatMap((id) => this.#on.on(id).map(({ hold }) => settled({ ...hold, ended: true })));
    if (await this.#on.note("brake.ended", ended, `${countOf(ended)} ended, or no longer known to the engine`)) {
      for (const id of over) this.#missing.delete(id);
    }
  }

  /** The engine failed: what it denied before counts for nothing. */
  forget(): void {
    this.#missing.clear();
  }
}
