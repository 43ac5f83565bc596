import { setTimeout as delay } from "node:timers/promises";
import { type Engine, type EngineWorkflow, endedStatuses } from "../engines/engine.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import type { Logger } from "../log.ts";
import type { Brake } from "../store/brake.ts";
import { type Brakes, isEngaged } from "./brakes.ts";
import { afterRelease, drifted, released, standstill } from "./halt.ts";

/** Times in ms. */
const pace = {
  /** While something that should stand does not, or something that should move does not. */
  closing: 50,
  /** While all that is held stands: somebody may let it go elsewhere. */
  watching: 250,
  /** Ask an engine again to hold what it accepted to hold: it may have restarted and forgotten. */
  askAgain: 150,
  /** The longest pause after failures in a row. */
  maxBackOff: 5_000,
} as const;

/** How an engine's reconciler is doing. */
export interface ReconcilerState {
  readonly engine: string;
  /** How long the last full round took, in ms. */
  readonly roundMs: number;
  /** Undefined while rounds succeed. */
  readonly fault: { readonly since: Date; readonly message: string } | undefined;
}

/**
 * Makes the brakes true on one engine, level-triggered: every round compares what should be held with what the engine shows
 * and closes the difference, whatever made it: a run that comes up from a queue, a sleeper that wakes, a resume in the
 * engine's own tool, an engine that restarted and forgot.
 */
export class Reconciler {
  readonly #engine: Engine;
  readonly #brakes: Brakes;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #asked = new Map<string, number>();
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  #roundMs = 0;
  #fault: ReconcilerState["fault"];

  constructor(engine: Engine, brakes: Brakes, log: Logger) {
    this.#engine = engine;
    this.#brakes = brakes;
    this.#log = log;
  }

  get state(): ReconcilerState {
    return { engine: this.#engine.name, roundMs: this.#roundMs, fault: this.#fault };
  }

  start(): void {
    const off = this.#brakes.onChange(() => this.#wake.abort());
    this.#running = this.#loop().finally(off);
  }

  /** Ends after the round under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      let pauseMs: number | undefined;
      const began = performance.now();
      try {
        pauseMs = await this.#round();
        this.#roundMs = Math.round(performance.now() - began);
        this.#fault = undefined;
        failures = 0;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (!this.#fault) this.#log.error({ err: error, engine: this.#engine.name }, "reconciler: round failed");
        this.#fault = { since: this.#fault?.since ?? new Date(), message };
        pauseMs = Math.min(pace.closing * 2 ** failures++, pace.maxBackOff);
      }
      if (this.#stop.signal.aborted) return;
      // Nothing to do: sleep until a brake changes. Otherwise a change cuts the pause short.
      const signal = this.#wake.signal;
      if (pauseMs === undefined) await aborted(signal);
      else await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One round over everything; returns the pause until the next, undefined where there is nothing to watch. */
  async #round(): Promise<number | undefined> {
    await this.#expire();
    const mine = this.#mine();
    if (mine.size === 0) {
      this.#asked.clear();
      return undefined;
    }
    const shown = new Map((await this.#engine.get([...mine.keys()])).map((workflow) => [workflow.id, workflow]));
    const toHold: string[] = [];
    const toInspect: string[] = [];
    for (const [id, brakes] of mine) {
      const workflow = shown.get(id);
      const open = workflow !== undefined && !endedStatuses.includes(workflow.status);
      const held = brakes.some(isEngaged);
      if (open && held && workflow.status !== "paused") {
        toHold.push(id);
        await this.#noteDrift(id, workflow.phase);
      }
      // What stands as it should needs no closer look; everything else does.
      if (!stands(workflow, brakes)) toInspect.push(id);
    }
    await this.#hold(toHold);
    await this.#inspect(toInspect);
    return toInspect.length > 0 ? pace.closing : pace.watching;
  }

  #mine(): Map<string, Brake[]> {
    const mine = new Map<string, Brake[]>();
    for (const brake of this.#brakes.active()) {
      const parsed = parseWorkflowId(brake.workflowId);
      if (parsed?.engine !== this.#engine.name) continue;
      const brakes = mine.get(parsed.id);
      if (brakes) brakes.push(brake);
      else mine.set(parsed.id, [brake]);
    }
    return mine;
  }

  /** Only the brake whose time has come, never a newer one on the same workflow. */
  async #expire(): Promise<void> {
    for (const brake of [...this.#brakes.active()]) {
      if (!isDue(brake) || parseWorkflowId(brake.workflowId)?.engine !== this.#engine.name) continue;
      await this.#brakes.exclusively(brake.workflowId, async () => {
        const current = this.#brakes.of(brake.workflowId).find((each) => each.brakeId === brake.brakeId);
        if (!current || !isDue(current)) return;
        const { id } = parseWorkflowId(brake.workflowId) ?? { id: "" };
        const seen = (await this.#engine.observe([id])).get(id);
        const expired: Brake = {
          ...current,
          state: "EXPIRED",
          release: { by: "", reason: "its time ran out", time: Date.now(), entryId: "" },
          halt: seen ? released(current.halt, seen) : current.halt,
        };
        await this.#brakes.update("brake.expired", [expired], "released by itself: its time ran out");
      });
    }
  }

  async #hold(ids: readonly string[]): Promise<void> {
    const now = Date.now();
    const due = ids.filter((id) => now - (this.#asked.get(id) ?? 0) >= pace.askAgain);
    if (due.length === 0) return;
    for (const id of due) this.#asked.set(id, now);
    for (const [id, answer] of await this.#engine.hold(due)) {
      if (answer.kind === "refused") {
        this.#log.warn({ engine: this.#engine.name, id, message: answer.message }, "the engine refused to hold");
        continue;
      }
      if (answer.kind !== "accepted") continue;
      const workflowId = formatWorkflowId(this.#engine.name, id);
      await this.#brakes.exclusively(workflowId, async () => {
        const accepted = this.#brakes
          .of(workflowId)
          .filter((brake) => isEngaged(brake) && brake.halt.acceptTime === undefined)
          .map((brake) => ({ ...brake, halt: { ...brake.halt, acceptTime: Date.now() } }));
        await this.#brakes.update("brake.accepted", accepted, "the engine accepted to halt it");
      });
    }
  }

  /** What stood and does not any more is noted when it is seen: a moment later it may stand again. */
  async #noteDrift(id: string, phase: string): Promise<void> {
    const workflowId = formatWorkflowId(this.#engine.name, id);
    await this.#brakes.exclusively(workflowId, () => this.#drift(this.#brakes.of(workflowId).filter(isEngaged), phase));
  }

  async #drift(engaged: readonly Brake[], phase: string): Promise<void> {
    const moved = engaged.filter((brake) => brake.halt.standstillTime !== undefined);
    await this.#brakes.update(
      "brake.drift",
      moved.map((brake) => ({ ...brake, halt: drifted(brake.halt) })),
      `it was let go elsewhere (${phase}) and is halted again`,
    );
  }

  async #inspect(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const workflowId = formatWorkflowId(this.#engine.name, id);
      await this.#brakes.exclusively(workflowId, () => this.#settle(id, workflowId));
    }
  }

  /** Under the workflow's lock: look once more, and note what is seen. */
  async #settle(id: string, workflowId: string): Promise<void> {
    const brakes = this.#brakes.of(workflowId);
    if (brakes.length === 0) return;
    const seen = (await this.#engine.observe([id])).get(id);
    if (seen === undefined || endedStatuses.includes(seen.status)) {
      this.#asked.delete(id);
      const what = seen ? `the workflow ended: ${seen.status}` : "the engine no longer knows the workflow";
      await this.#brakes.update(
        "brake.ended",
        brakes.map((brake) => endedBrake(brake, what)),
        what,
      );
      return;
    }
    const engaged = brakes.filter(isEngaged);
    if (engaged.length > 0) {
      if (seen.status === "paused") {
        this.#asked.delete(id);
        const now = Date.now();
        const standing = engaged
          .filter((brake) => brake.halt.standstillTime === undefined)
          .map((brake) => ({ ...brake, halt: standstill(brake, seen, now) }));
        await this.#brakes.update("brake.standstill", standing, "seen paused with no step in flight");
      } else {
        await this.#drift(engaged, seen.phase);
      }
      // Released ones have nothing left to do: the workflow is held by others, and the pause becomes theirs.
      const done = brakes.filter((brake) => !isEngaged(brake)).map(settled);
      await this.#brakes.update("brake.settled", done, "other brakes hold the workflow");
      return;
    }
    const todo = brakes.map((brake) => ({
      brake,
      next: afterRelease(brake.halt, seen.status, seen, Date.now() - (brake.release?.time ?? 0)),
    }));
    // Somebody else's pause stays, also where brakes of ours lay on top of it.
    const external = seen.status === "paused" && brakes.every((brake) => brake.halt.foundPaused);
    if (!external && todo.some(({ next }) => next === "release")) {
      for (const answer of (await this.#engine.release([id])).values()) {
        if (answer.kind === "refused") {
          this.#log.warn({ engine: this.#engine.name, id, message: answer.message }, "the engine refused to release");
        }
      }
      // What was asked to go on is looked at again: only a workflow that is seen to go on is settled.
      return;
    }
    const done = todo.filter(({ next }) => next === "settle").map(({ brake }) => settled(brake));
    await this.#brakes.update(
      "brake.settled",
      done,
      external ? "left paused: somebody else paused it" : `goes on (${seen.phase})`,
    );
  }
}

/** True where every engaged brake has seen it stand, it still stands, and no released one has anything left to do. */
function stands(workflow: EngineWorkflow | undefined, brakes: readonly Brake[]): boolean {
  return (
    workflow?.status === "paused" &&
    brakes.every((brake) => isEngaged(brake) && brake.halt.standstillTime !== undefined)
  );
}

function isDue(brake: Brake): boolean {
  return isEngaged(brake) && brake.expireTime !== undefined && brake.expireTime <= Date.now();
}

function settled(brake: Brake): Brake {
  return { ...brake, halt: { ...brake.halt, settled: true, pausePending: false } };
}

function endedBrake(brake: Brake, why: string): Brake {
  const release = brake.release ?? { by: "", reason: why, time: Date.now(), entryId: "" };
  return settled({ ...brake, state: isEngaged(brake) ? "RELEASED" : brake.state, release });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
