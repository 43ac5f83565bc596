import { isDeepStrictEqual } from "node:util";
import { LRUCache } from "lru-cache";
import type { Brake as BrakeView } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Brake } from "../store/brake.ts";
import type { SeenBrake } from "./brake-sight.ts";
import { brakeViewOf, type Surroundings } from "./brake-view.ts";
import type { Brakes } from "./brakes.ts";

/** How many are remembered. */
const max = 1_000;

/**
 * Brakes that are over, as those see them who reach all of them. What they held changes no more, so that it is read once, and not
 * for every list that they are in.
 */
export class OverViews {
  readonly #known = new LRUCache<string, { readonly brake: Brake; readonly view: BrakeView }>({ max });

  constructor(brakes: Pick<Brakes, "onChange">) {
    // One that was over comes back where something was caught for it as it was released.
    brakes.onChange(({ brakeIds }) => {
      for (const id of brakeIds) this.#known.delete(id);
    });
  }

  /** Undefined where it is not remembered, or not as it is now: a person's name may have been erased. */
  get(brake: Brake, { gates }: Surroundings): BrakeView | undefined {
    const known = this.#known.get(brake.brakeId);
    if (known === undefined || !isDeepStrictEqual(known.brake, brake)) return undefined;
    const { receipt } = known.view;
    const attached = new Set(gates.attached().map(({ gate }) => gate));
    for (const gate of receipt?.gates ?? []) gate.attached = attached.has(gate.gate);
    return known.view;
  }

  /** The view of one that is over and wholly seen; from now on it is remembered. */
  of(seen: SeenBrake, surroundings: Surroundings): BrakeView {
    const view = brakeViewOf(seen, surroundings);
    this.#known.set(seen.brake.brakeId, { brake: seen.brake, view });
    return view;
  }
}
