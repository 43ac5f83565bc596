import type { Context } from "@cedar-policy/cedar-wasm/nodejs";
import { policyToJson } from "@cedar-policy/cedar-wasm/nodejs";

/** How policies use a fact of the context: as it is, or only by whether it is one of these texts. */
type Use = "whole" | Set<string>;

/**
 * What policies look at in the context of a call. Calls that differ in nothing else are decided alike: what a policy does not
 * name cannot change what it says.
 */
export class Relevance {
  /** Undefined: everything. */
  readonly #uses: ReadonlyMap<string, Use> | undefined;

  /** @param policies the texts of all of them. */
  constructor(policies: Iterable<string>) {
    const uses = new Map<string, Use>();
    let clear = true;
    for (const text of policies) {
      const parsed = policyToJson(text);
      clear &&= parsed.type === "success" && note(parsed.json.conditions, uses);
    }
    this.#uses = clear ? uses : undefined;
  }

  /** The same for contexts between which no policy can tell. */
  of(context: Context): unknown {
    const uses = this.#uses;
    if (uses === undefined) return context;
    return [...uses].map(([name, use]) => {
      const value = Object.hasOwn(context, name) ? context[name] : undefined;
      if (use === "whole" || typeof value !== "string") return [name, value];
      // Which of the texts it is: as Cedar gets it, without what is no character.
      const text = value.toWellFormed();
      return [name, use.has(text) ? text : false];
    });
  }
}

/** Notes what an expression looks at. False: that cannot be told, for it may be all of the context. */
function note(node: unknown, uses: Map<string, Use>): boolean {
  if (Array.isArray(node)) return node.every((one) => note(one, uses));
  if (typeof node !== "object" || node === null) return true;
  if ((node as { Var?: unknown }).Var === "context") return false;
  return Object.entries(node).every(([operator, operand]) => {
    if (operator === "." || operator === "has") {
      if (!isContext(operand?.left)) return note(operand, uses);
      if (typeof operand.attr !== "string") return false;
      uses.set(operand.attr, "whole");
      return true;
    }
    if (operator === "==" || operator === "!=") {
      const compared =
        comparedWithText(operand?.left, operand?.right) ?? comparedWithText(operand?.right, operand?.left);
      if (compared) {
        const [name, text] = compared;
        const use = uses.get(name) ?? new Set();
        if (use !== "whole") uses.set(name, use.add(text));
        return true;
      }
    }
    return note(operand, uses);
  });
}

/** `context.name == "text"`: the name, and the text. */
function comparedWithText(left: unknown, right: unknown): [name: string, text: string] | undefined {
  const operand = (left as { "."?: { left?: unknown; attr?: unknown } } | undefined)?.["."];
  const value = (right as { Value?: unknown } | undefined)?.Value;
  if (!isContext(operand?.left) || typeof operand?.attr !== "string" || typeof value !== "string") return undefined;
  return [operand.attr, value];
}

function isContext(node: unknown): boolean {
  return (node as { Var?: unknown } | undefined)?.Var === "context";
}
