import type { Rule } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";

/** What a rule can tell a workflow by. */
export interface GatedWorkflow {
  /** The engine's own id. */
  readonly id: string;
  readonly type: string;
  readonly handler: string;
  /** "type/handler", or "type/key/handler". */
  readonly name: string;
  /** As its process reported them; where an engine knows the workflow, none. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Of the rules with the same types or handlers: those whose name begins with the prefix and that have the labels match. */
interface Candidate {
  readonly brakeId: string;
  readonly namePrefix: string;
  readonly labels: readonly (readonly [string, string])[];
}

/** A whole set of rules, indexed: asking costs the same with ten ids as with a hundred thousand. */
export class Rules {
  /** The set's; 0 for none at all. */
  readonly revision: bigint;
  /** How many workflows it names. */
  readonly workflows: number;
  /** How many brakes it is of. */
  readonly brakes: number;
  readonly #byId = new Map<string, string>();
  /** By "type", "type/handler", or "" for any. */
  readonly #byKind = new Map<string, Candidate[]>();

  constructor(revision: bigint, rules: readonly Rule[]) {
    this.revision = revision;
    for (const rule of rules) {
      for (const id of rule.workflowIds) this.#byId.set(id, rule.brakeId);
      if (!rule.matchNew) continue;
      const labels = Object.entries(rule.labels);
      for (const kind of kindsOf(rule)) {
        const candidates = this.#byKind.get(kind) ?? [];
        candidates.push({ brakeId: rule.brakeId, namePrefix: rule.namePrefix, labels });
        this.#byKind.set(kind, candidates);
      }
    }
    this.workflows = this.#byId.size;
    this.brakes = new Set(rules.map(({ brakeId }) => brakeId)).size;
  }

  /** A brake that holds the workflow; undefined: none does. */
  brakeOn({ id, type, handler, name, labels }: GatedWorkflow): string | undefined {
    const named = this.#byId.get(id);
    if (named !== undefined || this.#byKind.size === 0) return named;
    const carries = ([key, value]: readonly [string, string]) =>
      labels !== undefined && Object.hasOwn(labels, key) && labels[key] === value;
    for (const kind of ["", type, `${type}/${handler}`]) {
      const found = this.#byKind.get(kind)?.find((one) => name.startsWith(one.namePrefix) && one.labels.every(carries));
      if (found !== undefined) return found.brakeId;
    }
    return undefined;
  }
}

function kindsOf({ types, handlers }: Rule): readonly string[] {
  if (handlers.length === 0) return types.length === 0 ? [""] : types;
  if (types.length === 0) return handlers;
  return handlers.filter((handler) => types.includes(handler.slice(0, handler.lastIndexOf("/"))));
}
