import { MissionControlError } from "../../errors.ts";

/** A path template of google.api.http, e.g. "/v1/workflows/{workflow_id}:pause". */
export interface Template {
  readonly segments: readonly Segment[];
  /** What follows the last colon outside of braces; undefined where there is none. */
  readonly verb: string | undefined;
  readonly variables: readonly Variable[];
}

/** One segment of a path: a text, any one segment (*), or all that are left (**). */
type Segment = { readonly kind: "literal"; readonly text: string } | { readonly kind: "*" } | { readonly kind: "**" };

interface Variable {
  /** The proto names that lead to the field. */
  readonly fieldPath: readonly string[];
  /** The segments that it captures: from the first, to behind the last. */
  readonly from: number;
  readonly to: number;
  /** True where it may capture more than one segment: then an escaped slash in it stays escaped. */
  readonly multi: boolean;
}

/** Reads a template. Throws an Error that names it: the proto is wrong. */
export function parseTemplate(template: string): Template {
  const fail = (what: string): never => {
    throw new Error(`google.api.http template "${template}": ${what}`);
  };
  if (!template.startsWith("/")) fail("does not begin with a slash");
  const segments: Segment[] = [];
  const variables: Variable[] = [];
  const verbAt = template.lastIndexOf(":");
  const hasVerb = verbAt > template.lastIndexOf("/") && verbAt > template.lastIndexOf("}");
  const segment = (text: string): Segment => {
    if (text === "*" || text === "**") return { kind: text };
    return /^[A-Za-z0-9._~-]+$/.test(text) ? { kind: "literal", text } : fail(`"${text}" is no segment`);
  };
  // A slash inside of braces belongs to the variable.
  for (const part of template.slice(1, hasVerb ? verbAt : undefined).split(/\/(?![^{]*\})/)) {
    const variable = /^\{([^=}]+)(?:=([^}]+))?\}$/.exec(part);
    if (variable === null) {
      segments.push(segment(part));
      continue;
    }
    const inner = (variable[2] ?? "*").split("/").map(segment);
    const from = segments.length;
    segments.push(...inner);
    variables.push({
      fieldPath: (variable[1] ?? "").split("."),
      from,
      to: segments.length,
      multi: inner.length > 1 || inner[0]?.kind === "**",
    });
  }
  const rest = segments.findIndex((candidate) => candidate.kind === "**");
  if (rest >= 0 && rest !== segments.length - 1) fail('"**" is not the last segment');
  return { segments, variables, verb: hasVerb ? template.slice(verbAt + 1) : undefined };
}

/**
 * The variables' values where the path fits the template; undefined where it does not. Path segments come as they were sent.
 * Throws INVALID_ARGUMENT on a malformed percent escape in a value.
 */
export function matchTemplate(
  template: Template,
  path: readonly string[],
  verb: string | undefined,
): ReadonlyMap<readonly string[], string> | undefined {
  const { segments, variables } = template;
  if (verb !== template.verb) return undefined;
  const open = segments.at(-1)?.kind === "**";
  if (open ? path.length < segments.length - 1 : path.length !== segments.length) return undefined;
  for (const [i, segment] of segments.entries()) {
    if (segment.kind === "**") break;
    const sent = path[i] ?? "";
    // An empty segment is no name of anything.
    if (segment.kind === "literal" ? sent !== segment.text : sent === "") return undefined;
  }
  return new Map(
    variables.map(({ fieldPath, from, to, multi }) => {
      const end = open && to === segments.length ? path.length : to;
      const values = path.slice(from, end).map((value) => (multi ? decodeAllButSlash(value) : decode(value)));
      return [fieldPath, values.join("/")];
    }),
  );
}

/** The more literal a template, the earlier it is tried: literals before "*" before "**". */
export function compareTemplates(a: Template, b: Template): number {
  const rank = { literal: 0, "*": 1, "**": 2 };
  for (const [i, segment] of a.segments.entries()) {
    const other = b.segments[i];
    const difference = rank[segment.kind] - (other === undefined ? 3 : rank[other.kind]);
    if (difference !== 0) return difference;
  }
  return b.segments.length - a.segments.length;
}

function decodeAllButSlash(text: string): string {
  return text
    .split(/(%2f)/i)
    .map((part) => (/^%2f$/i.test(part) ? part : decode(part)))
    .join("");
}

/** Decodes percent escapes, or throws INVALID_ARGUMENT. */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    const message = `"${text.slice(0, 128)}" in the URL is not well escaped: write % as %25, and the rest as UTF-8`;
    throw new MissionControlError("INVALID_ARGUMENT", message, { cause });
  }
}
