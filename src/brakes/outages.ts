import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type EngineOutage, EngineOutageSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { Brake, Hold } from "../store/brake.ts";
import type { SeenBrake } from "./brake-sight.ts";
import type { Catching } from "./catch.ts";

/** An engine that does not answer. Times in ms since the epoch. */
interface Outage {
  readonly since: number;
  readonly message: string;
}

/** Which engines do not answer: noted by whoever asks them for the brakes, told to everybody who looks at a brake. */
export class Outages {
  readonly #engines: readonly string[];
  readonly #catching: Catching;
  readonly #away = new Map<string, Outage>();
  readonly #listeners = new Set<() => void>();

  constructor(engines: readonly string[], catching: Catching) {
    this.#engines = engines;
    this.#catching = catching;
  }

  /** It did not answer. The first of several in a row says since when: that is the answer, in ms since the epoch. */
  began(engine: string, message: string): number {
    const before = this.#away.get(engine);
    const since = before?.since ?? Date.now();
    if (before?.message !== message) {
      this.#away.set(engine, { since, message });
      this.#tell();
    }
    return since;
  }

  /** It answered. */
  ended(engine: string): void {
    if (this.#away.delete(engine)) this.#tell();
  }

  /** Calls back whenever an engine goes away or comes back; the answer ends that. */
  onChange(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** True while the brake has not looked at everything yet on one of the engines that it reaches, be it away or slow. */
  hidesFrom(brake: Brake): boolean {
    if (!this.#catching.catches(brake)) return false;
    const reached = this.#catching.selector(brake).engines(this.#engines);
    return reached.some((engine) => this.#catching.isFirstLook(brake, engine));
  }

  /**
   * What is away of the engines that an engaged brake reaches, and of those on which one that is over has not let go of
   * everything, as far as the caller sees the brake.
   */
  of({ brake, holds: seen, whole }: SeenBrake): EngineOutage[] {
    return this.#reachedBy(brake).flatMap(([engine, { since, message }]) => {
      const known = seen.filter((hold) => engineOf(hold) === engine && !hold.halt.settled).length;
      // Beyond what the caller may see there is not even an engine, and what is over reaches nothing more.
      if (known === 0 && (!whole || brake.state !== "ENGAGED")) return [];
      const outage = create(EngineOutageSchema, { engine, since: timestampFromMs(since), message });
      if (known > 0 || !this.#catching.isFirstLook(brake, engine)) outage.lastKnown = known;
      return [outage];
    });
  }

  #reachedBy(brake: Brake): (readonly [engine: string, outage: Outage])[] {
    if (this.#away.size === 0 || brake.state === "AWAITING_APPROVAL") return [];
    return this.#catching
      .selector(brake)
      .engines(this.#engines)
      .flatMap((engine) => {
        const outage = this.#away.get(engine);
        return outage === undefined ? [] : [[engine, outage] as const];
      });
  }

  #tell(): void {
    for (const callback of this.#listeners) callback();
  }
}

function engineOf({ workflowId }: Hold): string {
  return parseWorkflowId(workflowId)?.engine ?? "";
}
