import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Selector } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { EngineStatus, EngineWorkflow, WorkflowQuery } from "../engines/engine.ts";
import { formatWorkflowId, parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import { Reach } from "../policy/reach.ts";
import { describe } from "./selector/describe.ts";
import { compileExpression, type Verdict } from "./selector/expression.ts";
import { fieldsSet, parseLabel, violationsOf } from "./selector/validate.ts";

/** Workflows whose expression could not be told are remembered, to be counted once: at most so many. */
const maxRemembered = 10_000;

/** What a gate needs to decide for workflows of one engine; see missioncontrol.gate.v1.Rule. */
export interface GateRule {
  /** True where the fields below tell whether a workflow matches that no brake has caught yet. */
  readonly matchNew: boolean;
  /** Only these types; empty: any. */
  readonly types: readonly string[];
  /** Only where the name begins so; empty: any. */
  readonly namePrefix: string;
  /** The engine's own ids of workflows that match whatever else they are. */
  readonly workflowIds: readonly string[];
  /** Only with all of these labels, which not every gate knows: where there are any, the fields above do not tell alone. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Checks a selector and makes it ready to be asked. Throws SELECTOR_EMPTY where nothing is set, SELECTOR_INVALID with the
 * fields that are wrong; it is invalid as well where nothing on any of the known engines could ever match it. Engines beyond
 * reach are not known, and workflows beyond it never match.
 */
export function compileSelector(
  selector: Selector,
  allEngines: readonly string[],
  reach: Reach = Reach.everything,
): CompiledSelector {
  const knownEngines = allEngines.filter((engine) => reach.admitsEngine(engine));
  if (!selector.everything && fieldsSet(selector).length === 0) {
    throw new MissionControlError(
      "SELECTOR_EMPTY",
      "the selector says nothing: set a field of it, or everything: true to mean every workflow there is and will be",
      { violations: [{ field: "selector", description: "is empty" }] },
    );
  }
  const violations = violationsOf(selector, knownEngines);
  let judge: Judge | undefined;
  if (selector.expression !== "") {
    try {
      judge = compileExpression(selector.expression);
    } catch (error) {
      violations.push({ field: "expression", description: error instanceof Error ? error.message : String(error) });
    }
  }
  if (violations.length === 0) {
    const compiled = new CompiledSelector(selector, judge, reach);
    if (compiled.engines(knownEngines).length > 0) return compiled;
    violations.push({
      field: selector.idPrefix === "" ? "workflow_ids" : "id_prefix",
      description: `cannot match on any engine: a workflow_id begins with its engine's name and a colon, e.g. "${knownEngines[0]}:"`,
    });
  }
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  throw new MissionControlError("SELECTOR_INVALID", `selector.${first?.field}: ${first?.description}${more}`, {
    violations: violations.map(({ field, description }) => ({ field: `selector.${field}`, description })),
  });
}

/**
 * One that was checked when it was engaged, made ready again. What has become wrong with it since keeps no other brake from
 * holding: an engine that is no longer configured is one on which nothing matches.
 */
export function recompileSelector(selector: Selector, reach: Reach): CompiledSelector {
  const judge = selector.expression === "" ? undefined : compileExpression(selector.expression);
  return new CompiledSelector(selector, judge, reach);
}

type Judge = (engine: string, workflow: EngineWorkflow) => Verdict;

/** A selector that was checked. */
export class CompiledSelector {
  readonly #selector: Selector;
  readonly #judge: Judge | undefined;
  readonly #reach: Reach;
  readonly #statuses: readonly EngineStatus[];
  readonly #labels: ReadonlyMap<string, string>;
  readonly #ids: ReadonlySet<string>;
  readonly #createdAfter: Date | undefined;
  readonly #createdBefore: Date | undefined;
  readonly #untold = new Set<string>();
  #lastMessage = "";

  /** For those above, which check first. */
  constructor(selector: Selector, judge: Judge | undefined, reach: Reach) {
    this.#selector = selector;
    this.#reach = reach;
    this.#judge = judge;
    const statuses = new Set(selector.statuses);
    this.#statuses = openStatuses
      .filter(([status]) => statuses.size === 0 || statuses.has(status))
      .map(([, own]) => own);
    this.#labels = new Map(selector.labels.map(parseLabel).map(({ key, value }) => [key, value]));
    this.#ids = new Set(selector.workflowIds);
    this.#createdAfter = selector.createdAfter && timestampDate(selector.createdAfter);
    this.#createdBefore = selector.createdBefore && endOfMillisecond(selector.createdBefore);
  }

  /**
   * True where the workflow, as its engine shows it, is one to hold: every typed field matches and the expression is true.
   * What has ended never is. False as well where the expression cannot be told for it, which `errors` then says.
   */
  matches(engine: string, workflow: EngineWorkflow): boolean {
    if (!this.admits(engine, workflow)) return false;
    const workflowId = formatWorkflowId(engine, workflow.id);
    const verdict = this.#fieldsMatch(engine, workflowId, workflow) && (this.#judge?.(engine, workflow) ?? true);
    if (typeof verdict === "boolean") {
      this.#untold.delete(workflowId);
      return verdict;
    }
    if (this.#untold.size < maxRemembered) this.#untold.add(workflowId);
    this.#lastMessage = verdict.slice(0, 200);
    return false;
  }

  /** True where the workflow is within reach: the children of what matches are held only where they are. */
  admits(engine: string, workflow: EngineWorkflow): boolean {
    return this.#reach.admits(engine, workflow);
  }

  /**
   * The workflows (at most 10,000 are counted) whose expression could not be told when `matches` last looked at them, e.g.
   * because they lack the label that it asks for. They are not held.
   */
  get errors(): { readonly count: number; readonly lastMessage: string } {
    return { count: this.#untold.size, lastMessage: this.#untold.size === 0 ? "" : this.#lastMessage };
  }

  /** Those of the engines on which anything can match. */
  engines(all: readonly string[]): string[] {
    return all.filter((engine) => this.listQuery(engine) !== undefined);
  }

  /**
   * What an engine can be asked for: a superset of what matches there, and without an expression exactly that. Undefined
   * where nothing on that engine can match.
   */
  listQuery(engine: string): WorkflowQuery | undefined {
    const { engines, types, idPrefix, namePrefix } = this.#selector;
    if ((engines.length > 0 && !engines.includes(engine)) || !this.#reach.admitsEngine(engine)) return undefined;
    const within = this.#reach.on(engine);
    const own = formatWorkflowId(engine, "");
    if (!idPrefix.startsWith(own) && !own.startsWith(idPrefix)) return undefined;
    const ids = this.#ids.size === 0 ? undefined : this.#idsOn(engine);
    if (ids?.length === 0) return undefined;
    const ownPrefix = idPrefix.slice(own.length);
    return {
      statuses: this.#statuses,
      ...(types.length > 0 && { types }),
      ...(this.#labels.size > 0 && { labels: Object.fromEntries(this.#labels) }),
      ...(ids && { ids }),
      ...(ownPrefix !== "" && { idPrefix: ownPrefix }),
      ...(namePrefix !== "" && { namePrefix }),
      ...(this.#createdAfter && { createdAfter: this.#createdAfter }),
      ...(this.#createdBefore && { createdBefore: this.#createdBefore }),
      ...(within && { within }),
    };
  }

  /** What the gates of an engine need to know; undefined where nothing on that engine can match. */
  gateRule(engine: string): GateRule | undefined {
    const query = this.listQuery(engine);
    if (query === undefined) return undefined;
    const { types, namePrefix } = this.#selector;
    const open = this.#statuses.length === openStatuses.length;
    // Gates cannot tell what is within reach: that is caught first, and then told by its id.
    const told =
      open && !query.within && !query.createdAfter && !query.createdBefore && !query.idPrefix && !this.#judge;
    // Named ids alone decide; together with anything else, only those that are caught are known to match.
    const named = told && !query.labels && types.length === 0 && namePrefix === "" ? query.ids : undefined;
    return {
      matchNew: told && !query.labels && query.ids === undefined,
      types,
      namePrefix,
      workflowIds: named ?? [],
      labels: told && query.ids === undefined ? (query.labels ?? {}) : {},
    };
  }

  /** A short sentence for people and the ledger, at most 200 characters, e.g. "type RefundAgent, label risk=high". */
  describe(): string {
    return describe(this.#selector);
  }

  #fieldsMatch(engine: string, workflowId: string, workflow: EngineWorkflow): boolean {
    const { engines, types, idPrefix, namePrefix } = this.#selector;
    return (
      (engines.length === 0 || engines.includes(engine)) &&
      (types.length === 0 || types.includes(workflow.type)) &&
      (this.#ids.size === 0 || this.#ids.has(workflowId)) &&
      this.#statuses.includes(workflow.status) &&
      workflowId.startsWith(idPrefix) &&
      workflow.name.startsWith(namePrefix) &&
      (this.#createdAfter === undefined || workflow.createTime >= this.#createdAfter) &&
      (this.#createdBefore === undefined || workflow.createTime < this.#createdBefore) &&
      this.#labels
        .entries()
        .every(([key, value]) => Object.hasOwn(workflow.labels, key) && workflow.labels[key] === value)
    );
  }

  #idsOn(engine: string): string[] {
    const ids: string[] = [];
    for (const workflowId of this.#ids) {
      const parsed = parseWorkflowId(workflowId);
      if (parsed?.engine === engine && workflowId.startsWith(this.#selector.idPrefix)) ids.push(parsed.id);
    }
    return ids;
  }
}

const openStatuses: readonly (readonly [Status, EngineStatus])[] = [
  [Status.PENDING, "pending"],
  [Status.RUNNING, "running"],
  [Status.PAUSED, "paused"],
  [Status.SILENT, "silent"],
];

/** Engines tell whole milliseconds: what was created within the one of the bound may be before it, and is held. */
function endOfMillisecond(time: Timestamp): Date {
  return new Date(timestampDate(time).getTime() + (time.nanos % 1_000_000 === 0 ? 0 : 1));
}
