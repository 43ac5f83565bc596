import { setTimeout as delay } from "node:timers/promises";
import type { EngineRegistry } from "../engines/registry.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import type { Logger } from "../log.ts";
import type { Brake, Hold, Release } from "../store/brake.ts";
import type { Brakes } from "./brakes.ts";
import { expireTimeOf, isExpired, isUnapproved, isWarningDue } from "./expiry.ts";
import { holds } from "./halt.ts";

/** Between two looks at the clock, ms. */
const tickMs = 100;
/** How often, a tick apart, it is looked for failures before a stage counts as well. */
const failureLooks = 5;
/** A tick that fails is tried again after this, ms. */
const backOffMs = 1_000;

/**
 * What happens to brakes by themselves: they expire (each only itself, warned before), an emergency that nobody approved is
 * released, a brake on one workflow ends with it, and a staged release takes its next stage or is taken back.
 */
export class Lifecycle {
  readonly #brakes: Brakes;
  readonly #engines: EngineRegistry;
  readonly #approveWithinMs: number;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  /** What is being done for each brake at the moment. */
  readonly #busy = new Map<string, Promise<void>>();
  #running: Promise<void> | undefined;

  /** @param approveWithinMs the time for a second person to approve what holds already. */
  constructor(brakes: Brakes, engines: EngineRegistry, approveWithinMs: number, log: Logger) {
    this.#approveWithinMs = approveWithinMs;
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
      // Each for itself: one whose engine does not answer keeps no other's time.
      for (const { brakeId } of this.#brakes.all()) {
        if (!this.#busy.has(brakeId)) this.#busy.set(brakeId, this.#keep(brakeId));
      }
      await delay(tickMs, undefined, { signal }).catch(() => undefined);
    }
    await Promise.all(this.#busy.values());
  }

  async #keep(brakeId: string): Promise<void> {
    try {
      await this.#step(brakeId);
    } catch (error) {
      this.#log.error({ err: error, brakeId }, "a brake's own time could not be kept");
      await delay(backOffMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    } finally {
      this.#busy.delete(brakeId);
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
    if (isOutgrown(brake, this.#brakes.holdCount(brake.brakeId))) return () => this.#outgrow(brake, now);
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
      return () => this.#nextStage(brake, release, release.staged ?? { percent: 100, watchMs: 0, maxFailures: 0 });
    }
    return undefined;
  }

  /** It has caught more than who engaged it may brake alone: a second person has to approve it, as an emergency. */
  #outgrow(brake: Brake, now: number): Promise<void> {
    const matched = this.#brakes.holdCount(brake.brakeId);
    const approveBy = now + this.#approveWithinMs;
    const approval = {
      matched,
      setHash: "",
      ids: [],
      tolerance: 0,
      approvedBy: "",
      approveTime: undefined,
      approveEntryId: "",
      approveBy,
    };
    const message = `it holds ${matched}, more than ${brake.engagedBy} may brake alone (${brake.radius}): approve it by ${new Date(approveBy).toISOString()}, or it is released`;
    this.#log.error({ brakeId: brake.brakeId, matched }, "a brake has outgrown the blast radius of who engaged it");
    return this.#update("brake.outgrown", { ...brake, approval }, message);
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

  async #nextStage(brake: Brake, release: Release, staged: NonNullable<Release["staged"]>): Promise<void> {
    const all = this.#brakes.holdsOf(brake.brakeId);
    const failed = await this.#mostFailures(
      staged.maxFailures,
      all.filter((hold) => hold.order < release.letGo),
      release.time,
    );
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
    // Looking took its time: the next stage is watched from when it begins.
    const stageTime = Date.now();
    const letGo = Math.min(all.length, release.letGo + stageSize(all.length, staged.percent));
    const last = release.letGo >= all.length;
    const next: Brake = last
      ? { ...brake, state: "RELEASED", release: { ...release, stageTime } }
      : { ...brake, release: { ...release, letGo, stageTime } };
    await this.#update(
      last ? "brake.released" : "brake.stage",
      next,
      last
        ? `all ${all.length} are let go, ${failed} failed`
        : `${letGo} of ${all.length} are let go, ${failed} failed so far`,
    );
  }

  /** The most of a few looks: one that keeps failing is at one moment between two attempts, and at the next within one. */
  async #mostFailures(enough: number, letGo: readonly Hold[], since: number): Promise<number> {
    let failed = 0;
    for (let look = 0; look < failureLooks && failed <= enough; look++) {
      if (look > 0) await delay(tickMs, undefined, { signal: this.#stop.signal });
      failed = Math.max(failed, await this.#failures(letGo, since));
    }
    return failed;
  }

  /** How many of them have failed since the release, by what their engines show. */
  async #failures(letGo: readonly Hold[], since: number): Promise<number> {
    let failed = 0;
    for (const [engine, group] of Map.groupBy(letGo, (hold) => parseWorkflowId(hold.workflowId)?.engine ?? "")) {
      const ids = group.map((hold) => parseWorkflowId(hold.workflowId)?.id ?? "");
      // One that was between two attempts when it was held was failing before.
      const before = new Set(
        group
          .filter(({ halt }) => halt.steps?.inFlight.some(({ failing }) => failing))
          .map(({ workflowId }) => workflowId),
      );
      for (const { id, status, phase, endTime } of await this.#engines.named(engine).get(ids)) {
        // One that keeps failing without ending is as bad as one that has failed.
        const failing = phase === "backing-off" && !before.has(formatWorkflowId(engine, id));
        if (failing || (status === "failed" && (endTime?.getTime() ?? since) >= since)) failed++;
      }
    }
    return failed;
  }

  async #update(action: string, brake: Brake, message: string): Promise<void> {
    const reason = brake.release?.reason || brake.reason;
    await this.#brakes.update(action, { brakes: [brake] }, { message, reason, emergency: brake.emergency });
  }
}

function isOutgrown(brake: Brake, count: number): boolean {
  return (
    brake.state === "ENGAGED" && brake.approval === undefined && brake.radius !== undefined && count > brake.radius
  );
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
