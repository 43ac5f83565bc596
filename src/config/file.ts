import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import type * as z from "zod";
import { ConfigError } from "./config-error.ts";
import { type ConfigDocument, documentSchema } from "./document.ts";

/** Nobody writes a longer one by hand, or needs to. */
const maxBytes = 256 * 1024;
const maxFaults = 50;

/**
 * Reads a configuration file: YAML 1.2, and so JSON as well.
 *
 * @throws ConfigError with every fault that is found: the file, the line, the key's path, what is wrong and what to do. What
 * the file says is not repeated: it may be a secret in the wrong place.
 */
export function readConfigFile(file: string): ConfigDocument {
  const text = readText(file);
  const lines = new LineCounter();
  let document: Document.Parsed;
  let content: unknown;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true });
    const [fault] = [...document.errors, ...document.warnings];
    if (fault !== undefined) {
      throw new ConfigError(`${file}:${lines.linePos(fault.pos[0]).line}: is not YAML: ${fault.message}`);
    }
    content = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    // Nested too deep, or aliases upon aliases.
    throw new ConfigError(`${file}: cannot be read as YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  const result = documentSchema(dirname(resolve(file))).safeParse(content, { error: explain });
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => faultsOf(issue, document, lines));
  const told = faults.slice(0, maxFaults).map(({ line, path, what }) => `${file}:${line}: ${path} ${what}`);
  if (faults.length > maxFaults) told.push(`… and ${faults.length - maxFaults} more`);
  throw new ConfigError(told.join("\n"));
}

function readText(file: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, "r");
    const { size } = fstatSync(descriptor);
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes / 1024} KiB`);
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(descriptor));
  } catch (error) {
    throw new ConfigError(
      `cannot read the configuration file ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** What zod says in words of its own, in ours: what has to be there, not what was. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === "invalid_type" && issue.input === undefined)
    return `is missing: it has to be ${names[issue.expected] ?? issue.expected}`;
  switch (issue.code) {
    case "invalid_type":
      return `has to be ${names[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return issue.input === undefined
        ? `is missing: it has to be one of ${issue.values.join(", ")}`
        : `has to be one of ${issue.values.join(", ")}`;
    case "too_small":
      return `has to be at least ${issue.minimum}${issue.origin === "array" ? " long" : ""}`;
    case "too_big":
      return `has to be at most ${issue.maximum}${issue.origin === "array" ? " long" : ""}`;
    default:
      return undefined;
  }
}

const names: Partial<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping of keys to values",
  record: "a mapping of keys to values",
};

interface Fault {
  readonly line: number;
  readonly path: string;
  readonly what: string;
}

function faultsOf(issue: z.core.$ZodIssue, document: Document, lines: LineCounter): Fault[] {
  const at = issue.path.filter((step) => typeof step !== "symbol");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      line: lineOf(document, lines, [...at, key]),
      path: pathOf([...at, key]),
      what: issue.message,
    }));
  }
  // A key of a record: its own schema says what is wrong with it.
  const what = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  return [{ line: lineOf(document, lines, at), path: pathOf(at), what }];
}

function pathOf(path: readonly (string | number)[]): string {
  if (path.length === 0) return "the file";
  return path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`),
    "",
  );
}

/** The line of what is there, or else of the nearest thing around it. */
function lineOf(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const step = path[length - 1];
    const key = isMap(parent)
      ? parent.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(step))?.key
      : document.getIn(path.slice(0, length), true);
    const start = (key as Node | undefined)?.range?.[0];
    if (start !== undefined) return lines.linePos(start).line;
  }
  return 1;
}
