import { type DescField, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../../gen/google/api/http_pb.ts";
import { compareTemplates, matchTemplate, parseTemplate, type Template } from "./template.ts";

/** One way to call an RPC over REST. */
export interface Binding {
  readonly method: DescMethod;
  readonly httpMethod: string;
  /** The template as it is written in the proto. */
  readonly path: string;
  readonly template: Template;
  /** Where the body goes: into the whole request, into a field of it, or nowhere (then there is none). */
  readonly body: "*" | DescField | undefined;
  /** The field of the response that is the answer; undefined: the whole response is. */
  readonly responseBody: DescField | undefined;
}

/** A binding that fits a request, and the values of its path variables by field path. */
export interface Match {
  readonly binding: Binding;
  readonly variables: ReadonlyMap<readonly string[], string>;
}

/** The REST bindings of an RPC, as its google.api.http option says. Throws where that names fields that are not there. */
export function bindingsOf(method: DescMethod): Binding[] {
  if (!hasOption(method, http)) return [];
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].map((each) => bindingOf(method, each));
}

function bindingOf(method: DescMethod, rule: HttpRule): Binding {
  const field = (desc: DescMethod["input"], name: string): DescField | undefined => {
    if (name === "") return undefined;
    const found = desc.fields.find((candidate) => candidate.name === name);
    if (found === undefined) throw new Error(`google.api.http of ${method}: ${desc.typeName} has no field "${name}"`);
    return found;
  };
  const { pattern } = rule;
  if (pattern.case === undefined) throw new Error(`google.api.http of ${method}: there is no path`);
  const [httpMethod, path] =
    pattern.case === "custom" ? [pattern.value.kind, pattern.value.path] : [pattern.case.toUpperCase(), pattern.value];
  return {
    method,
    httpMethod,
    path,
    template: parseTemplate(path),
    body: rule.body === "*" ? "*" : field(method.input, rule.body),
    responseBody: field(method.output, rule.responseBody),
  };
}

/** Finds the binding of a request. */
export class RouteTable {
  readonly #bindings: readonly Binding[];

  constructor(bindings: readonly Binding[]) {
    this.#bindings = bindings.toSorted((a, b) => compareTemplates(a.template, b.template));
  }

  /** The first binding of this method whose template fits the path, as it was sent, without the query. */
  match(httpMethod: string, path: string): Match | undefined {
    const wanted = httpMethod === "HEAD" ? "GET" : httpMethod;
    return this.#matches(path, (binding) => binding.httpMethod === wanted).next().value;
  }

  /** The methods that the path knows; empty: there is no such path. */
  allow(path: string): string[] {
    const methods = new Set<string>();
    for (const { binding } of this.#matches(path, () => true)) methods.add(binding.httpMethod);
    if (methods.has("GET")) methods.add("HEAD");
    if (methods.size > 0) methods.add("OPTIONS");
    return [...methods].sort();
  }

  *#matches(path: string, wanted: (binding: Binding) => boolean): Generator<Match, undefined> {
    if (!path.startsWith("/")) return;
    for (const { segments, verb } of readings(path)) {
      for (const binding of this.#bindings) {
        if (!wanted(binding)) continue;
        const variables = matchTemplate(binding.template, segments, verb);
        if (variables !== undefined) yield { binding, variables };
      }
    }
  }
}

/** What follows the last colon is read as a verb first, and as data (an id with a colon in it) where there is no such verb. */
function* readings(path: string): Generator<{ segments: string[]; verb: string | undefined }> {
  const segments = path.slice(1).split("/");
  const last = segments.at(-1) ?? "";
  const colon = last.lastIndexOf(":");
  if (colon >= 0) {
    yield { segments: [...segments.slice(0, -1), last.slice(0, colon)], verb: last.slice(colon + 1) };
  }
  yield { segments, verb: undefined };
}
