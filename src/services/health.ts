import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { LRUCache } from "lru-cache";
import {
  ComponentHealth_Status as ComponentStatus,
  type GetHealthResponse,
  GetHealthResponseSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { isWithin } from "../brakes/brake-sight.ts";
import type { Brakes } from "../brakes/brakes.ts";
import type { Drills } from "../brakes/drill.ts";
import { holds } from "../brakes/halt.ts";
import type { Reconciler } from "../brakes/reconciler.ts";
import { type EngineStatus, noWorkflows } from "../engines/engine.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import type { Reach } from "../policy/reach.ts";
import { drillsWithin } from "./drill.ts";
import { engagedWithin } from "./emergencies.ts";

/** What one look at a component showed. */
export interface ComponentReport {
  readonly status: "healthy" | "degraded" | "unhealthy";
  readonly message: string;
}

/** A part that the brake depends on, and how to look at it. A check that rejects or takes too long is unhealthy. */
export interface Component {
  readonly name: string;
  /** The engine that it is about: it is shown to those who reach something there. Unset: to all. */
  readonly engine?: string;
  /** @param reach of whoever asks: it tells of nothing beyond. */
  check(signal: AbortSignal, reach: Reach): Promise<ComponentReport> | ComponentReport;
}

/** A report is shared for this long among those who reach the same, and no check may take longer than that, ms. */
const limits = { shareMs: 500, checkMs: 2_000, reaches: 1_000 } as const;

const statuses = {
  healthy: ComponentStatus.HEALTHY,
  degraded: ComponentStatus.DEGRADED,
  unhealthy: ComponentStatus.UNHEALTHY,
} as const;

/** Looks at every component and counts the workflows; many askers at once cost one look. */
export class HealthService {
  readonly #engines: EngineRegistry;
  readonly #brakes: Brakes;
  readonly #reconcilers: readonly Reconciler[];
  readonly #drills: Drills;
  readonly #components: readonly Component[];
  readonly #facts: { readonly version: string; readonly devMode: boolean };
  readonly #startTime = new Date();
  readonly #since = new LRUCache<string, { status: ComponentStatus; since: Date }>({ max: 16 * limits.reaches });
  readonly #shared = new LRUCache<string, Promise<GetHealthResponse>>({ max: limits.reaches, ttl: limits.shareMs });

  constructor(
    engines: EngineRegistry,
    brakes: Brakes,
    reconcilers: readonly Reconciler[],
    drills: Drills,
    components: readonly Component[],
    facts: { version: string; devMode: boolean },
  ) {
    this.#engines = engines;
    this.#brakes = brakes;
    this.#reconcilers = reconcilers;
    this.#drills = drills;
    this.#components = components;
    this.#facts = facts;
  }

  /** How it is, as far as it is within reach. */
  async report(reach: Reach, signal?: AbortSignal): Promise<GetHealthResponse> {
    signal?.throwIfAborted();
    const shared = this.#shared.get(reach.key);
    if (shared) return shared;
    const report = this.#look(reach);
    this.#shared.set(reach.key, report);
    return report;
  }

  async #look(reach: Reach): Promise<GetHealthResponse> {
    const checkTime = new Date();
    const shown = this.#components.filter(({ engine }) => engine === undefined || reach.admitsEngine(engine));
    const [components, counts] = await Promise.all([
      Promise.all(shown.map((component) => this.#check(component, reach))),
      this.#count(reach),
    ]);
    const pausing = [...this.#brakes.workflowIds()].filter((workflowId) => {
      const held = this.#brakes.on(workflowId).filter((one) => holds(one) && isWithin(reach, one.hold));
      return held.length > 0 && held.every(({ hold }) => hold.halt.standstillTime === undefined);
    }).length;
    const lastDrill = drillsWithin(this.#drills, reach).at(-1);
    return create(GetHealthResponseSchema, {
      status: components.reduce<ComponentStatus>((worst, { status }) => (status > worst ? status : worst), 1),
      version: this.#facts.version,
      devMode: this.#facts.devMode,
      startTime: timestampFromDate(this.#startTime),
      uptime: durationFromMs(checkTime.getTime() - this.#startTime.getTime()),
      components: components.map(({ since, ...component }) => ({ ...component, since: timestampFromDate(since) })),
      activeWorkflows: counts.pending + counts.running + counts.paused + counts.silent,
      pausedWorkflows: counts.paused,
      pausingWorkflows: pausing,
      totalWorkflows: Object.values(counts).reduce((sum, n) => sum + n, 0),
      engagedBrakes: reach.isLimited ? engagedWithin(this.#brakes, reach).length : this.#brakes.engagedCount,
      checkTime: timestampFromDate(checkTime),
      reconcileDuration: durationFromMs(Math.max(0, ...this.#reconcilers.map(({ state }) => state.roundMs))),
      ...(lastDrill && { lastDrill }),
    });
  }

  async #check({ name, check }: Component, reach: Reach) {
    const timeout = AbortSignal.timeout(limits.checkMs);
    const late = new Promise<never>((_, reject) => {
      timeout.addEventListener("abort", () => reject(new Error(`no answer within ${limits.checkMs} ms`)), {
        once: true,
      });
    });
    const report = await Promise.race([Promise.resolve().then(() => check(timeout, reach)), late]).catch(
      (error): ComponentReport => ({
        status: "unhealthy",
        message: error instanceof Error ? error.message : String(error),
      }),
    );
    const status = statuses[report.status];
    const key = `${reach.key} ${name}`;
    const before = this.#since.get(key);
    const since = before?.status === status ? before.since : new Date();
    this.#since.set(key, { status, since });
    return { name, status, message: report.message.slice(0, 500), since };
  }

  /** An engine that does not answer counts nothing; its component says so. */
  async #count(reach: Reach): Promise<Record<EngineStatus, number>> {
    const sum = noWorkflows();
    const timeout = AbortSignal.timeout(limits.checkMs);
    const counting = this.#engines
      .select([], reach)
      .map((engine) => engine.count({ within: reach.on(engine.name) }, timeout));
    const results = await Promise.allSettled(counting);
    for (const result of results) {
      if (result.status === "rejected") continue;
      for (const status of Object.keys(sum) as EngineStatus[]) sum[status] += result.value[status];
    }
    return sum;
  }
}
