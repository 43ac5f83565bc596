import { type DescMessage, fromJson, type JsonObject, type JsonValue, type MessageShape } from "@bufbuild/protobuf";
import { isFieldError } from "@bufbuild/protobuf/reflect";
import { MissionControlError } from "../../errors.ts";
import { canonicalName, parseQuery, setText } from "./query.ts";
import type { Match } from "./routes.ts";

/**
 * The request message of a REST call. The path wins over the body; with a body "*" there are no query parameters; whatever
 * is not known is refused.
 *
 * @param resumeToken what a reconnecting event stream saw last: wins over what the URL says.
 */
export function requestMessage(
  match: Match,
  query: string,
  body: Uint8Array,
  resumeToken?: string,
): MessageShape<DescMessage> {
  const { binding, variables } = match;
  const { input } = binding.method;
  const json = bodyJson(match, body);
  const seen = new Map<string, string>();
  for (const [name, values] of parseQuery(query)) {
    const fieldPath = name.split(".");
    const canonical = canonicalName(input, fieldPath);
    const other = seen.get(canonical);
    if (binding.body === "*" || (binding.body && binding.body.name === canonical.split(".")[0])) {
      throw refused(`"${name}" is given in the URL: send it in the body`);
    }
    if (other !== undefined) throw refused(`"${other}" and "${name}" are the same parameter: give one of them`);
    seen.set(canonical, name);
    setText(json, input, fieldPath, values);
  }
  if (resumeToken !== undefined) setText(json, input, ["resume_token"], [resumeToken]);
  for (const [fieldPath, value] of variables) setText(json, input, fieldPath, [value]);
  try {
    return fromJson(input, json);
  } catch (error) {
    throw unreadable(input, json, error);
  }
}

function bodyJson({ binding }: Match, body: Uint8Array): JsonObject {
  if (binding.body === undefined) {
    if (body.byteLength > 0) throw refused(`${binding.httpMethod} ${binding.path} takes no body: use query parameters`);
    return {};
  }
  if (body.byteLength === 0) return {};
  const json = parseJson(body);
  if (binding.body !== "*") return { [binding.body.jsonName]: json };
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw refused("the body is JSON, but not an object");
  }
  return json;
}

function parseJson(body: Uint8Array): JsonValue {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)) as JsonValue;
  } catch (cause) {
    throw new MissionControlError("INVALID_ARGUMENT", `the body is not JSON in UTF-8: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Errors of well-known types (a Timestamp, a Duration) do not name their field: it is the one that cannot be read alone. */
function unreadable(input: DescMessage, json: JsonObject, error: unknown): MissionControlError {
  const message = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error ? error.cause : undefined;
  const fault = isFieldError(error) ? error : isFieldError(cause) ? cause : undefined;
  const unread = Object.keys(json).find((name) => !isReadable(input, name, json[name]));
  const field =
    fault?.field().name ?? input.fields.find(({ name, jsonName }) => [name, jsonName].includes(unread ?? ""))?.name;
  return new MissionControlError("INVALID_ARGUMENT", fault || !field ? message : `${field}: ${message}`, {
    cause: error,
    ...(field && { violations: [{ field, description: message }] }),
  });
}

function isReadable(input: DescMessage, name: string, value: JsonValue | undefined): boolean {
  try {
    fromJson(input, value === undefined ? {} : { [name]: value });
    return true;
  } catch {
    return false;
  }
}

function refused(message: string): MissionControlError {
  return new MissionControlError("INVALID_ARGUMENT", message);
}
