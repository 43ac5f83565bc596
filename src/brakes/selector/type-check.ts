import {
  type CelEnv,
  CelScalar,
  type CelType,
  isCelError,
  listType,
  objectType,
  type parse,
  plan,
} from "@bufbuild/cel";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Patterns } from "./patterns.ts";
import { subjectFields, subjectType } from "./subject.ts";

type Expr = ReturnType<typeof parse>["expr"];
type Call = Extract<Expr["exprKind"], { case: "callExpr" }>["value"];
type Select = Extract<Expr["exprKind"], { case: "selectExpr" }>["value"];
type Constant = Extract<Expr["exprKind"], { case: "constExpr" }>["value"];
type Comprehension = Extract<Expr["exprKind"], { case: "comprehensionExpr" }>["value"];
type Scope = ReadonlyMap<string, CelType>;

/** Nodes of the syntax tree: with no macro in a macro, an evaluation takes at most the square of it in steps. */
const maxNodes = 256;

const { BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, UINT } = CelScalar;

/** Something wrong in an expression, at the node with this id. */
export class ExpressionFault extends Error {
  readonly nodeId: bigint;

  constructor(nodeId: bigint, message: string) {
    super(message);
    this.nodeId = nodeId;
  }
}

/**
 * Checks an expression over `workflow` as far as it can be before there is one: that every name and function exists, that
 * every operand has a type that its operator takes, that literals can be converted and patterns compiled, that it is bounded,
 * and that it says true or false. Throws ExpressionFault.
 *
 * Ours, because @bufbuild/cel evaluates without a type check; the functions' signatures are the library's own.
 */
export function checkTypes(env: CelEnv, root: Expr, patterns: Patterns): void {
  const type = new TypeCheck(env, patterns).typeOf(root, new Map([["workflow", subjectType]]));
  if (type !== BOOL) throw new ExpressionFault(root.id, `it is a ${type}, and has to be true or false (bool)`);
}

class TypeCheck {
  readonly #env: CelEnv;
  readonly #patterns: Patterns;
  #nodes = 0;
  #inMacro = false;

  constructor(env: CelEnv, patterns: Patterns) {
    this.#env = env;
    this.#patterns = patterns;
  }

  typeOf(expr: Expr | undefined, scope: Scope): CelType {
    if (expr === undefined) throw new ExpressionFault(0n, "it is incomplete");
    if (++this.#nodes > maxNodes)
      throw new ExpressionFault(expr.id, `it has more than ${maxNodes} terms: say less in it`);
    const { id, exprKind: kind } = expr;
    switch (kind.case) {
      case "constExpr":
        return typeOfConstant(id, kind.value);
      case "identExpr": {
        const type = scope.get(kind.value.name);
        if (type) return type;
        throw new ExpressionFault(id, `"${kind.value.name}" is not known: there is only workflow`);
      }
      case "selectExpr":
        return this.#select(id, kind.value, scope);
      case "callExpr":
        return this.#call(expr, kind.value, scope);
      case "listExpr":
        return listType(this.#common(kind.value.elements, scope, "the elements of a list"));
      case "comprehensionExpr":
        return this.#macro(id, kind.value, scope);
      default:
        throw new ExpressionFault(id, "maps and messages cannot be made in an expression");
    }
  }

  #select(id: bigint, { operand, field, testOnly }: Select, scope: Scope): CelType {
    const of = this.typeOf(operand, scope);
    if (of === subjectType) {
      const found = subjectFields.get(field);
      if (found === undefined) {
        throw new ExpressionFault(id, `a workflow has no "${field}", only ${[...subjectFields.keys()].join(", ")}`);
      }
      if (testOnly && !found.optional) {
        throw new ExpressionFault(id, `every workflow has "${field}": compare it, e.g. with ""`);
      }
      return testOnly ? BOOL : found.type;
    }
    if (of.kind === "map" && of.key === STRING) return testOnly ? BOOL : of.value;
    throw new ExpressionFault(id, `a ${of} has no "${field}"`);
  }

  #call(expr: Expr, call: Call, scope: Scope): CelType {
    const operands = call.target ? [call.target, ...call.args] : call.args;
    switch (call.function) {
      case "_&&_":
      case "_||_":
      case "@not_strictly_false":
        for (const operand of operands) this.#expect(BOOL, operand, scope);
        return BOOL;
      case "_?_:_":
        this.#expect(BOOL, operands[0], scope);
        return this.#common(operands.slice(1), scope, "both sides of ?:");
      case "_==_":
      case "_!=_":
        this.#common(operands, scope, "both sides of == and !=");
        return BOOL;
      case "_[_]":
        return this.#index(expr.id, operands, scope);
      case "@in":
        return this.#in(expr.id, operands, scope);
    }
    const group = switchingOff.has(call.function) ? undefined : this.#env.funcs.find(call.function);
    if (group === undefined) throw new ExpressionFault(expr.id, `there is no ${written(call.function)} here`);
    const types = operands.map((operand) => this.typeOf(operand, scope));
    const [left, right] = types;
    if (call.function === "_+_" && left?.kind === "list" && right?.kind === "list") {
      const joined = commonType(left, right);
      if (joined) return joined;
    }
    const params = call.target ? types.slice(1) : types;
    const found = [...group].find(
      (func) =>
        (func.target === undefined) === (call.target === undefined) &&
        (func.target === undefined || (left !== undefined && takes(func.target, left))) &&
        func.arguments.length === params.length &&
        func.arguments.every((wanted, at) => takes(wanted, params[at] ?? DYN)),
    );
    if (found === undefined) {
      throw new ExpressionFault(expr.id, `${written(call.function)} does not take ${types.join(" and ") || "nothing"}`);
    }
    if (call.function === "matches") this.#pattern(call.args[0]);
    this.#fold(expr, operands);
    return found.result;
  }

  #index(id: bigint, [of, key]: readonly Expr[], scope: Scope): CelType {
    const type = this.typeOf(of, scope);
    const by = this.typeOf(key, scope);
    if (type.kind === "map" && takes(type.key, by)) return type.value;
    if (type.kind === "list" && takes(INT, by)) return type.element;
    throw new ExpressionFault(id, `a ${type} cannot be asked for a ${by} by [ ]`);
  }

  #in(id: bigint, [item, of]: readonly Expr[], scope: Scope): CelType {
    const type = this.typeOf(item, scope);
    const range = this.typeOf(of, scope);
    const held = range.kind === "list" ? range.element : range.kind === "map" ? range.key : undefined;
    if (held && commonType(held, type)) return BOOL;
    throw new ExpressionFault(id, `a ${type} cannot be in a ${range}`);
  }

  /** exists, all, exists_one, filter and map, as the parser has written them out. */
  #macro(id: bigint, loop: Comprehension, scope: Scope): CelType {
    // One in the other, or one behind the other, doubles its own list as often as it is said.
    if (this.#inMacro) throw new ExpressionFault(id, "exists, all, filter and map cannot be nested or chained");
    if (loop.iterVar === "workflow") throw new ExpressionFault(id, `call the variable other than "workflow"`);
    this.#inMacro = true;
    const range = this.typeOf(loop.iterRange, scope);
    const item = range.kind === "list" ? range.element : range.kind === "map" ? range.key : undefined;
    if (item === undefined) throw new ExpressionFault(id, `a ${range} cannot be gone through: a list or a map can`);
    const start = this.typeOf(loop.accuInit, scope);
    const inside = new Map([...scope, [loop.accuVar, start], [loop.iterVar, item]]);
    this.#expect(BOOL, loop.loopCondition, inside);
    const step = this.typeOf(loop.loopStep, inside);
    const result = this.typeOf(loop.result, new Map([...scope, [loop.accuVar, commonType(start, step) ?? DYN]]));
    this.#inMacro = false;
    return result;
  }

  #expect(wanted: CelType, operand: Expr | undefined, scope: Scope): void {
    const type = this.typeOf(operand, scope);
    if (!takes(wanted, type)) throw new ExpressionFault(operand?.id ?? 0n, `here goes a ${wanted}, not a ${type}`);
  }

  /** The type of all of them; of none of them: DYN, which an empty list has. */
  #common(operands: readonly Expr[], scope: Scope, what: string): CelType {
    let common: CelType = DYN;
    for (const operand of operands) {
      const type = this.typeOf(operand, scope);
      const next = commonType(common, type);
      if (next === undefined) throw new ExpressionFault(operand.id, `${what} have one type, not ${common} and ${type}`);
      common = next;
    }
    return common;
  }

  #pattern(arg: Expr | undefined): void {
    const id = arg?.id ?? 0n;
    const constant = arg?.exprKind.case === "constExpr" ? arg.exprKind.value.constantKind : undefined;
    if (constant?.case !== "stringValue") {
      throw new ExpressionFault(id, "the pattern of matches() has to be written as a literal");
    }
    try {
      this.#patterns.add(constant.value);
    } catch (error) {
      throw new ExpressionFault(id, error instanceof Error ? error.message : String(error));
    }
  }

  /** A literal that cannot be converted would fail for every workflow: it is said now. */
  #fold(expr: Expr, operands: readonly Expr[]): void {
    if (!operands.every((operand) => operand.exprKind.case === "constExpr")) return;
    const value = plan(this.#env, expr)();
    if (isCelError(value)) throw new ExpressionFault(expr.id, value.message);
  }
}

/** They would take a value out of the type check. */
const switchingOff: ReadonlySet<string> = new Set(["dyn", "type"]);

function typeOfConstant(id: bigint, { constantKind }: Constant): CelType {
  switch (constantKind.case) {
    case "boolValue":
      return BOOL;
    case "bytesValue":
      return BYTES;
    case "doubleValue":
      return DOUBLE;
    case "int64Value":
      if (BigInt.asIntN(64, constantKind.value) !== constantKind.value) {
        throw new ExpressionFault(id, "the number does not fit into 64 bits");
      }
      return INT;
    case "uint64Value":
      if (BigInt.asUintN(64, constantKind.value) !== constantKind.value) {
        throw new ExpressionFault(id, "the number does not fit into 64 bits");
      }
      return UINT;
    case "nullValue":
      return NULL;
    case "stringValue":
      return STRING;
    case "timestampValue":
      return objectType(TimestampSchema);
    case "durationValue":
      return objectType(DurationSchema);
    default:
      throw new ExpressionFault(id, "a literal of an unknown kind");
  }
}

/** True where a parameter of type `wanted` takes a value of type `given`. */
function takes(wanted: CelType, given: CelType): boolean {
  return commonType(wanted, given) !== undefined;
}

/** The type that both are; undefined where they differ. DYN, of which only empty lists are, gives way. */
function commonType(a: CelType, b: CelType): CelType | undefined {
  if (a === DYN) return b;
  if (b === DYN) return a;
  if (a.kind === "list" && b.kind === "list") {
    const element = commonType(a.element, b.element);
    return element && listType(element);
  }
  if (a.kind === "map" && b.kind === "map") return commonType(a.key, b.key) && commonType(a.value, b.value) && b;
  return a.kind === b.kind && a.name === b.name ? a : undefined;
}

/** A function as one writes it: the parser calls + "_+_". */
function written(name: string): string {
  const operator = /^(?:_|)([^\w@]+)_$/.exec(name)?.[1];
  return operator ?? `${name}()`;
}
