import type { Engine } from "../../engines/engine.ts";
import { formatWorkflowId } from "../../engines/workflow-id.ts";
import type { Logger } from "../../log.ts";
import type { Held, Hold } from "../../store/brake.ts";
import type { Brakes } from "../brakes.ts";
import { holds } from "../halt.ts";

/** The brakes as seen from one engine, by the engine's own ids. */
export class EngineBrakes {
  readonly engine: Engine;
  readonly brakes: Brakes;
  /** What the ids of this engine's workflows begin with. */
  readonly #prefix: string;
  readonly #log: Logger;
  readonly #stop: AbortSignal;
  readonly #mine = new Map<string, readonly Held[]>();
  #unwritten: { readonly since: Date; readonly message: string } | undefined;

  constructor(engine: Engine, brakes: Brakes, log: Logger, stop: AbortSignal) {
    this.engine = engine;
    this.#prefix = formatWorkflowId(engine.name, "");
    this.brakes = brakes;
    this.#log = log;
    this.#stop = stop;
  }

  /** Since when and why what was seen could not be written; undefined while it can. */
  get unwritten(): { readonly since: Date; readonly message: string } | undefined {
    return this.#unwritten;
  }

  /** Aborts reads when the reconciler is to stop. */
  get signal(): AbortSignal {
    return this.#stop;
  }

  /** Workflows of this engine with holds that are not settled, by the engine's own ids; as they are at any moment. */
  get mine(): ReadonlyMap<string, readonly Held[]> {
    return this.#mine;
  }

  /** Begins to know of them; returns how to end that. */
  follow(): () => void {
    for (const workflowId of this.brakes.workflowIds()) this.#note(workflowId);
    return this.brakes.onChange(({ workflowIds }) => {
      for (const workflowId of workflowIds) this.#note(workflowId);
    });
  }

  /** True where the hold's workflow is one of this engine's. */
  isMine(hold: Hold): boolean {
    return hold.workflowId.startsWith(this.#prefix);
  }

  /** The engine's own id of one of its workflows. */
  idOf(workflowId: string): string {
    return workflowId.slice(this.#prefix.length);
  }

  /** Holds on a workflow that are not settled. */
  on(id: string): readonly Held[] {
    return this.#mine.get(id) ?? [];
  }

  /** True while a brake keeps the workflow from taking a step. */
  isHeld(id: string): boolean {
    return this.on(id).some(holds);
  }

  /**
   * Writes what was seen, with one ledger entry for each brake. False where it could not be written: that must not keep the
   * round from holding, so it is told in health and tried again when it is seen again.
   */
  async note(action: string, changed: readonly Hold[], message: string): Promise<boolean> {
    if (changed.length === 0) return true;
    try {
      for (const [brakeId, holds] of Map.groupBy(changed, (hold) => hold.brakeId)) {
        const brake = this.brakes.active(brakeId);
        const reason = brake?.release?.reason || brake?.reason || "";
        await this.brakes.update(action, { holds }, { message, reason, emergency: brake?.emergency ?? false });
      }
      this.#unwritten = undefined;
      return true;
    } catch (error) {
      if (!this.#unwritten) this.#log.error({ err: error, action }, "what was seen of brakes cannot be written");
      const written = error instanceof Error ? error.message : String(error);
      this.#unwritten = { since: this.#unwritten?.since ?? new Date(), message: written };
      return false;
    }
  }

  #note(workflowId: string): void {
    if (!workflowId.startsWith(this.#prefix)) return;
    const held = this.brakes.on(workflowId);
    if (held.length > 0) this.#mine.set(this.idOf(workflowId), held);
    else this.#mine.delete(this.idOf(workflowId));
  }

  /** Warns of what the engine would not do. */
  refused(what: string, id: string, message: string): void {
    this.#log.warn({ engine: this.engine.name, id, message }, `the engine refused to ${what}`);
  }
}

/** "1 workflow", "7 workflows". */
export function countOf(changed: readonly unknown[]): string {
  return changed.length === 1 ? "1 workflow" : `${changed.length} workflows`;
}
