import { celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import type { EngineWorkflow } from "../../engines/engine.ts";
import { Patterns } from "./patterns.ts";
import { subjectOf } from "./subject.ts";
import { checkTypes, ExpressionFault } from "./type-check.ts";

/** Characters of an expression (the contract says the same). */
const maxLength = 4096;
/** Brackets in brackets, those in literals included: the parser goes down the stack with each. */
const maxBrackets = 64;

/** Whether an expression holds for a workflow; a string says why it could not be told. */
export type Verdict = boolean | string;

/**
 * Compiles a CEL expression over `workflow`. Throws an Error whose message names the place and what is wrong there.
 * An evaluation never throws, and is bounded in time by the checks made here.
 */
export function compileExpression(text: string): (engine: string, workflow: EngineWorkflow) => Verdict {
  if (text.length > maxLength) throw new Error(`it is longer than ${maxLength} characters`);
  if (bracketDepth(text) > maxBrackets) throw new Error(`its brackets are nested deeper than ${maxBrackets}`);
  const patterns = new Patterns();
  const env = celEnv({ re2: patterns });
  const parsed = parseAt(text);
  try {
    checkTypes(env, parsed.expr, patterns);
  } catch (error) {
    if (!(error instanceof ExpressionFault)) throw error;
    const offset = parsed.sourceInfo?.positions[error.nodeId.toString()] ?? 0;
    throw new Error(`at ${placeOf(text, offset)}: ${error.message}`);
  }
  const evaluate = plan(env, parsed);
  return (engine, workflow) => {
    patterns.begin();
    try {
      const value = evaluate({ workflow: subjectOf(engine, workflow) });
      if (isCelError(value)) return value.message;
      return typeof value === "boolean" ? value : "it gave neither true nor false";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
}

function parseAt(text: string): ReturnType<typeof parse> {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof Error && "location" in error) {
      // The parser's ParseError, which the library does not export.
      const { start } = error.location as { start: { offset: number } };
      const found = text.slice(start.offset, start.offset + 20).replace(/\s+/g, " ");
      const what = found === "" ? "it ends too early" : `"${found}" does not belong there`;
      throw new Error(`at ${placeOf(text, start.offset)}: ${what}`);
    }
    throw error;
  }
}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  const column = (before.at(-1)?.length ?? 0) + 1;
  return before.length === 1 ? `character ${column}` : `line ${before.length}, character ${column}`;
}

function bracketDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const char of text) {
    if ("([{".includes(char)) deepest = Math.max(deepest, ++depth);
    else if (")]}".includes(char)) depth = Math.max(0, depth - 1);
  }
  return deepest;
}
