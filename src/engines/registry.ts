import { MissionControlError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { formatWorkflowId, parseWorkflowId } from "./workflow-id.ts";

/** The configured engines, by name. */
export class EngineRegistry {
  readonly #engines: ReadonlyMap<string, Engine>;

  constructor(engines: readonly Engine[]) {
    this.#engines = new Map(engines.map((engine) => [engine.name, engine]));
  }

  /** All engines, or those named. Throws UNKNOWN_ENGINE for a name that is not configured. */
  select(names: readonly string[] = []): Engine[] {
    if (names.length === 0) return [...this.#engines.values()];
    return [...new Set(names)].map((name) => this.named(name));
  }

  /** Throws UNKNOWN_ENGINE where no engine has the name. */
  named(name: string): Engine {
    const engine = this.#engines.get(name);
    if (engine) return engine;
    throw new MissionControlError(
      "UNKNOWN_ENGINE",
      `there is no engine "${name}": this server knows ${[...this.#engines.keys()].join(", ")}`,
      { metadata: { engine: name } },
    );
  }

  /**
   * The engine and its own id for what a caller wrote: a full workflow_id, or the engine's own id where only one engine could
   * have given it. Throws WORKFLOW_NOT_FOUND where none could, WORKFLOW_AMBIGUOUS where several could.
   */
  locate(text: string): { engine: Engine; id: string; workflowId: string } {
    const parsed = parseWorkflowId(text);
    const named = parsed && this.#engines.get(parsed.engine);
    if (parsed && named?.isId(parsed.id)) return { engine: named, id: parsed.id, workflowId: text };
    const candidates = [...this.#engines.values()].filter((engine) => engine.isId(text));
    const [engine] = candidates;
    if (engine === undefined) throw workflowNotFound(text);
    if (candidates.length > 1) {
      throw new MissionControlError(
        "WORKFLOW_AMBIGUOUS",
        `"${text}" could be of ${candidates.map((each) => each.name).join(" or ")}: write "${engine.name}:${text}"`,
      );
    }
    return { engine, id: text, workflowId: formatWorkflowId(engine.name, text) };
  }
}

export function workflowNotFound(text: string): MissionControlError {
  return new MissionControlError(
    "WORKFLOW_NOT_FOUND",
    `no engine knows a workflow "${text.slice(0, 200)}": list them to see the ids`,
    { metadata: { workflow_id: text.slice(0, 200) } },
  );
}
