import type { Engine, EngineWorkflow } from "../../engines/engine.ts";
import { formatWorkflowId, parseWorkflowId } from "../../engines/workflow-id.ts";
import type { Logger } from "../../log.ts";
import type { Held, Hold } from "../../store/brake.ts";
import type { Brakes } from "../brakes.ts";

/** How many ids one query takes. */
const idsPerQuery = 1_000;
/** More than this are asked for without naming them: engines find all that is open faster than so many by their ids. */
const manyIds = 4_000;

/** The brakes as seen from one engine, by the engine's own ids. */
export class EngineBrakes {
  readonly engine: Engine;
  readonly brakes: Brakes;
  readonly #log: Logger;
  readonly #stop: AbortSignal;
  #unwritten: { readonly since: Date; readonly message: string } | undefined;

  constructor(engine: Engine, brakes: Brakes, log: Logger, stop: AbortSignal) {
    this.engine = engine;
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

  /** Workflows of this engine with holds that are not settled. */
  mine(): Map<string, readonly Held[]> {
    const mine = new Map<string, readonly Held[]>();
    for (const workflowId of this.brakes.workflowIds()) {
      const parsed = parseWorkflowId(workflowId);
      if (parsed?.engine === this.engine.name) mine.set(parsed.id, this.brakes.on(workflowId));
    }
    return mine;
  }

  /** True where the hold's workflow is one of this engine's. */
  isMine(hold: Hold): boolean {
    return parseWorkflowId(hold.workflowId)?.engine === this.engine.name;
  }

  /** Holds on a workflow that are not settled. */
  on(id: string): Held[] {
    return this.brakes.on(formatWorkflowId(this.engine.name, id));
  }

  /** Those of the ids that are open, as the engine shows them. */
  async open(ids: readonly string[]): Promise<Map<string, EngineWorkflow>> {
    const shown = new Map<string, EngineWorkflow>();
    const queries = ids.length > manyIds ? [{}] : chunks(ids).map((chunk) => ({ ids: chunk }));
    const asked = new Set(ids);
    for (const query of queries) {
      const rows = await this.engine.open({ anyOf: [query], children: false, paused: true }, this.#stop);
      for (const workflow of rows) if (asked.has(workflow.id)) shown.set(workflow.id, workflow);
    }
    return shown;
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

  /** Warns of what the engine would not do. */
  refused(what: string, id: string, message: string): void {
    this.#log.warn({ engine: this.engine.name, id, message }, `the engine refused to ${what}`);
  }
}

/** The engine's own id of a hold's workflow. */
export function idOf(hold: Hold): string {
  return parseWorkflowId(hold.workflowId)?.id ?? "";
}

/** "1 workflow", "7 workflows". */
export function countOf(changed: readonly unknown[]): string {
  return changed.length === 1 ? "1 workflow" : `${changed.length} workflows`;
}

/** The ids in lists that one query takes. */
export function chunks(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / idsPerQuery) }, (_, n) =>
    ids.slice(n * idsPerQuery, (n + 1) * idsPerQuery),
  );
}
