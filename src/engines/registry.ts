import { MissionControlError } from "../errors.ts";
import { Reach } from "../policy/reach.ts";
import type { Engine } from "./engine.ts";
import { formatWorkflowId, parseWorkflowId } from "./workflow-id.ts";

/** The configured engines, by name. */
export class EngineRegistry {
  readonly #engines: ReadonlyMap<string, Engine>;

  constructor(engines: readonly Engine[]) {
    this.#engines = new Map(engines.map((engine) => [engine.name, engine]));
  }

  /** All engines within reach, or those named. Throws UNKNOWN_ENGINE for a name that is not configured, or beyond. */
  select(names: readonly string[] = [], reach: Reach = Reach.everything): Engine[] {
    if (names.length === 0) return [...this.#engines.values()].filter(({ name }) => reach.admitsEngine(name));
    return [...new Set(names)].map((name) => this.named(name, reach));
  }

  /** Throws UNKNOWN_ENGINE where no engine has the name, or it is beyond reach. */
  named(name: string, reach: Reach = Reach.everything): Engine {
    const engine = this.#engines.get(name);
    if (engine && reach.admitsEngine(name)) return engine;
    const known = this.select([], reach).map((one) => one.name);
    throw new MissionControlError(
      "UNKNOWN_ENGINE",
      `there is no engine "${name}": this server knows ${known.join(", ") || "none that you may see"}`,
      { metadata: { engine: name } },
    );
  }

  /**
   * The engine and its own id for what a caller wrote: a full workflow_id, or the engine's own id where only one engine could
   * have given it. Throws WORKFLOW_NOT_FOUND where none could, WORKFLOW_AMBIGUOUS where several could; engines beyond reach
   * do not count.
   */
  locate(text: string, reach: Reach = Reach.everything): { engine: Engine; id: string; workflowId: string } {
    const parsed = parseWorkflowId(text);
    const engines = this.select([], reach);
    const named = parsed && engines.find(({ name }) => name === parsed.engine);
    if (parsed && named?.isId(parsed.id)) return { engine: named, id: parsed.id, workflowId: text };
    const candidates = engines.filter((engine) => engine.isId(text));
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

/** @param unsaid for the ledger only: nobody may tell what is hidden from what is not there. */
export function workflowNotFound(text: string, unsaid = ""): MissionControlError {
  return new MissionControlError(
    "WORKFLOW_NOT_FOUND",
    `no engine knows a workflow "${text.slice(0, 200)}": list them to see the ids`,
    { metadata: { workflow_id: text.slice(0, 200) }, unsaid },
  );
}
