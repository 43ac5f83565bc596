import { LineCounter, parseDocument } from "yaml";
import type * as z from "zod";

/**
 * Reads a YAML text. Where it is not what the schema says, every fault goes to `faults`, with file, line and place, and
 * undefined comes back. Aliases are refused: a short text could stand for a very long one.
 */
export function readYaml<T>(schema: z.ZodType<T>, text: string, file: string, faults: string[]): T | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const told = [...document.errors, ...document.warnings].map(
    ({ pos, message }) => `${file}:${lines.linePos(pos[0]).line}: ${message}`,
  );
  if (told.length > 0) {
    faults.push(...told);
    return undefined;
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    faults.push(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  for (const { path, message } of result.error.issues) {
    const node = document.getIn(path, true) as { range?: [number, number, number] } | undefined;
    const line = node?.range ? `:${lines.linePos(node.range[0]).line}` : "";
    faults.push(`${file}${line}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`);
  }
  return undefined;
}
