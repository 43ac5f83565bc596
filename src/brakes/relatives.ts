import { LRUCache } from "lru-cache";
import { TraceEntry_Kind as Kind, type TraceEntry, type Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import type { Reach } from "../policy/reach.ts";
import type { Traits } from "../store/brake.ts";

/** How many workflows' traits are remembered, and for how long, ms: labels change when somebody deploys. */
const memory = { max: 10_000, ttl: 5_000 } as const;

/** Takes out of what is told of a workflow what it says of others that are beyond reach: its parent, its children. */
export class Relatives {
  readonly #engines: EngineRegistry;
  readonly #known = new LRUCache<string, Traits>(memory);

  constructor(engines: EngineRegistry) {
    this.#engines = engines;
  }

  /** The workflows, each with its parent only where that is within reach. */
  async withoutParents(reach: Reach, workflows: readonly Workflow[], signal?: AbortSignal): Promise<Workflow[]> {
    if (!reach.isLimited) return [...workflows];
    for (const { workflowId, type, labels } of workflows) this.#known.set(workflowId, { type, labels });
    const parents = workflows.map(({ parentWorkflowId }) => parentWorkflowId).filter((id) => id !== "");
    const visible = await this.#within(reach, parents, signal);
    return workflows.map((workflow) =>
      workflow.parentWorkflowId === "" || visible.has(workflow.parentWorkflowId)
        ? workflow
        : { ...workflow, parentWorkflowId: "" },
    );
  }

  /** A timeline in which children that are beyond reach have neither id nor name. */
  async withoutChildren(reach: Reach, entries: readonly TraceEntry[], signal?: AbortSignal): Promise<TraceEntry[]> {
    if (!reach.isLimited) return [...entries];
    const children = entries.map(({ childWorkflowId }) => childWorkflowId).filter((id) => id !== "");
    const visible = await this.#within(reach, children, signal);
    const isHidden = (entry: TraceEntry) =>
      entry.childWorkflowId === "" ? startsChild(entry) : !visible.has(entry.childWorkflowId);
    const hidden = new Set(entries.filter(isHidden).map(({ name }) => name));
    // A failed attempt is named after what failed: that may be the call of a child.
    return entries.map((entry) =>
      isHidden(entry) || (entry.kind === Kind.ATTEMPT_FAILED && hidden.has(entry.name))
        ? { ...entry, name: "", childWorkflowId: "" }
        : entry,
    );
  }

  /** What its engine tells of each of them, unless the engine is beyond reach or does not know it. Throws ENGINE_UNAVAILABLE. */
  async traits(reach: Reach, workflowIds: readonly string[], signal?: AbortSignal): Promise<Map<string, Traits>> {
    const found = new Map<string, Traits>();
    const unknown = new Map<string, string[]>();
    for (const workflowId of new Set(workflowIds)) {
      const parsed = parseWorkflowId(workflowId);
      if (parsed === undefined || !reach.admitsEngine(parsed.engine)) continue;
      const traits = this.#known.get(workflowId);
      if (traits) found.set(workflowId, traits);
      else unknown.set(parsed.engine, [...(unknown.get(parsed.engine) ?? []), parsed.id]);
    }
    for (const engine of this.#engines.select()) {
      const ids = unknown.get(engine.name);
      if (ids === undefined) continue;
      for (const { id, type, labels } of await engine.get(ids, signal)) {
        this.#known.set(formatWorkflowId(engine.name, id), { type, labels });
        found.set(formatWorkflowId(engine.name, id), { type, labels });
      }
    }
    return found;
  }

  /** Those within reach; none where an engine does not answer: who asks for one workflow gets that in any case. */
  async #within(reach: Reach, workflowIds: readonly string[], signal?: AbortSignal): Promise<Set<string>> {
    try {
      const found = [...(await this.traits(reach, workflowIds, signal))];
      const within = found.filter(([id, traits]) => reach.admits(parseWorkflowId(id)?.engine ?? "", traits));
      return new Set(within.map(([id]) => id));
    } catch {
      signal?.throwIfAborted();
      return new Set();
    }
  }
}

function startsChild({ kind }: TraceEntry): boolean {
  return kind === Kind.CALL || kind === Kind.SEND;
}
