import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { isWithin, seenWithin } from "../brakes/brake-sight.ts";
import type { Brakes } from "../brakes/brakes.ts";
import type { Workflows } from "../brakes/workflows.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import type { Reach } from "../policy/reach.ts";
import type { Store } from "../store/store.ts";

/**
 * Which ledger entries a reader whose roles have a scope may see: those about a workflow within it, or about a brake that is
 * wholly within it. An entry about neither tells of the whole, and is for those who reach everything.
 */
export class EntrySight {
  readonly #brakes: Brakes;
  readonly #workflows: Workflows;
  readonly #store: Store;

  constructor(brakes: Brakes, workflows: Workflows, store: Store) {
    this.#brakes = brakes;
    this.#workflows = workflows;
    this.#store = store;
  }

  /** Those of the entries that are within reach. Throws ENGINE_UNAVAILABLE where it cannot be told: a list has no silent gaps. */
  async within(reach: Reach, entries: readonly AuditEntry[], signal?: AbortSignal): Promise<AuditEntry[]> {
    if (!reach.isLimited) return [...entries];
    const targets = new Set(entries.map(({ target }) => target).filter((target) => target !== ""));
    const traits = await this.#workflows.traits(reach, [...targets], signal);
    const visible = new Set<string>();
    for (const target of targets) {
      const known = traits.get(target);
      const admitted = known
        ? reach.admits(parseWorkflowId(target)?.engine ?? "", known)
        : // The engine has forgotten it: the holds that were on it have not.
          (await this.#store.heldOf(target)).some(({ hold }) => isWithin(reach, hold));
      if (admitted) visible.add(target);
    }
    const whole = new Map<string, boolean>();
    for (const brakeId of new Set(entries.map((entry) => entry.brakeId).filter((id) => id !== ""))) {
      const found = await this.#brakes.find(brakeId);
      whole.set(brakeId, found !== undefined && seenWithin(reach, found)?.whole === true);
    }
    return entries.filter(
      ({ target, brakeId }) =>
        (target !== "" || brakeId !== "") &&
        (target === "" || visible.has(target)) &&
        (brakeId === "" || whole.get(brakeId) === true),
    );
  }
}
