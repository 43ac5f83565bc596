import { setTimeout as delay } from "node:timers/promises";
import type { EngineRegistry } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { Logger } from "../log.ts";
import type { Brake, Hold, Release } from "../store/brake.ts";
import type { Brakes } from "./brakes.ts";
import { expireTimeOf, isExpired, isUnapproved, isWarningDue } from "./expiry.ts";
import { holds } from "./halt.ts";

/** Between two looks at the clock, ms. */
const tickMs = 100;
/** A tick that fails is tried again after this, ms. */
const backOffMs = 1_000;

/**
 * What happens to brakes by themselves: they expire (each only itself, warned before), an emergency that nobody approved is
 * released, a brake on one workflow ends with it, and a staged release takes its next stage or is taken back.
 */
export class Lifecycle {
  readonly #brakes: Brakes;
  readonly #engines: EngineRegistry;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(brakes: Brakes, engines: EngineRegistry, log: Logger) {
    this.#brakes = brakes;
    this.#engines = engines;
    this.#log = log;
  }

  start(): void {
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let pauseMs: number = tickMs;
      try {
        for (const brake of [...this.#brakes.all()]) await this.#step(brake.brakeId);
      } catch (error) {
        this.#log.error({ err: error }, "a brake's own time could not be kept");
        pauseMs = backOffMs;
      }
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One brake, under its lock where there is something to do: a person may be releasing it at this moment. */
  async #step(brakeId: string): Promise<void> {
    const brake = this.#brakes.active(brakeId);
    if (!brake || this.#due(brake, Date.now()) === undefined) return;
    await this.#brakes.exclusively(lockOf(brake), async () => {
      const now = Date.now();
      const current = this.#brakes.active(brakeId);
      if (current) await this.#due(current, now)?.();
    });
  }

  /** What is due for the brake; undefined: nothing. */
  #due(brake: Brake, now: number): (() => Promise<void>) | undefined {
    if (isExpired(brake, now)) return () => this.#end(brake, "EXPIRED", "brake.expired", "its time ran out", now);
    if (isUnapproved(brake, now)) {
      return () => this.#end(brake, "RELEASED", "brake.unapproved", "an emergency that nobody approved in time", now);
    }
    if (isWarningDue(brake, now)) {
      const at = new Date(expireTimeOf(brake) ?? now).toISOString();
      return () => this.#update("brake.expires-soon", { ...brake, expiryWarned: true }, `releases by itself at ${at}`);
    }
    if (brake.state !== "ENGAGED") return undefined;
    if (brake.workflowId !== "" && this.#brakes.hold(brake.brakeId, brake.workflowId)?.ended) {
      return () => this.#end(brake, "RELEASED", "brake.over", "the workflow ended", now);
    }
    const { release } = brake;
    if (release?.staged && release.haltedBecause === "" && now >= release.stageTime + release.staged.watchMs) {
      return () => this.#nextStage(brake, release, release.staged ?? { percent: 100, watchMs: 0, maxFailures: 0 }, now);
    }
    return undefined;
  }

  #end(brake: Brake, state: "RELEASED" | "EXPIRED", action: string, why: string, now: number): Promise<void> {
    const release: Release = {
      by: "",
      reason: why,
      time: now,
      entryId: "",
      staged: undefined,
      letGo: 0,
      stageTime: now,
      haltedBecause: "",
    };
    return this.#update(action, { ...brake, state, release }, `released by itself: ${why}`);
  }

  async #nextStage(brake: Brake, release: Release, staged: NonNullable<Release["staged"]>, now: number): Promise<void> {
    const all = this.#brakes.holdsOf(brake.brakeId);
    const failed = await this.#failures(all.filter((hold) => hold.order < release.letGo));
    if (failed > staged.maxFailures) {
      const haltedBecause = `${failed} of ${release.letGo} released workflows failed (at most ${staged.maxFailures} may)`;
      this.#log.error({ brakeId: brake.brakeId, haltedBecause }, "a staged release braked again");
      await this.#update(
        "brake.braked-again",
        { ...brake, release: { ...release, letGo: 0, haltedBecause } },
        haltedBecause,
      );
      return;
    }
    const letGo = Math.min(all.length, release.letGo + stageSize(all.length, staged.percent));
    const last = release.letGo >= all.length;
    const next: Brake = last
      ? { ...brake, state: "RELEASED", release: { ...release, stageTime: now } }
      : { ...brake, release: { ...release, letGo, stageTime: now } };
    await this.#update(
      last ? "brake.released" : "brake.stage",
      next,
      last
        ? `all ${all.length} are let go, ${failed} failed`
        : `${letGo} of ${all.length} are let go, ${failed} failed so far`,
    );
  }

  /** How many of them have failed since, by what their engines show. */
  async #failures(letGo: readonly Hold[]): Promise<number> {
    let failed = 0;
    for (const [engine, group] of Map.groupBy(letGo, (hold) => parseWorkflowId(hold.workflowId)?.engine ?? "")) {
      const ids = group.map((hold) => parseWorkflowId(hold.workflowId)?.id ?? "");
      const shown = await this.#engines.named(engine).get(ids);
      // One that keeps failing without ending (it backs off before each new attempt) is as bad as one that has failed.
      failed += shown.filter(({ status, phase }) => status === "failed" || phase === "backing-off").length;
    }
    return failed;
  }

  async #update(action: string, brake: Brake, message: string): Promise<void> {
    const reason = brake.release?.reason || brake.reason;
    await this.#brakes.update(action, { brakes: [brake] }, { message, reason, emergency: brake.emergency });
  }
}

/** Commands about one workflow exclude each other by its id, others by the brake's. */
export function lockOf(brake: Brake): string {
  return brake.workflowId || brake.brakeId;
}

/** The first stage of a staged release: how many are let go. */
export function stageSize(count: number, percent: number): number {
  return Math.max(1, Math.ceil((count * percent) / 100));
}

/** How many of a brake's holds it holds still. */
export function holdingCount(brake: Brake, all: readonly Hold[]): number {
  return all.reduce((count, hold) => count + (holds({ brake, hold }) ? 1 : 0), 0);
}
