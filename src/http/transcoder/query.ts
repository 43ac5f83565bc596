import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { MissionControlError } from "../../errors.ts";
import { decode } from "./template.ts";

/** The parameters of a query, decoded, in their order. */
export function parseQuery(query: string): Map<string, string[]> {
  const parameters = new Map<string, string[]>();
  for (const part of query.split("&")) {
    if (part === "") continue;
    const [name = "", ...value] = part.split("=").map((text) => decode(text.replaceAll("+", " ")));
    const values = parameters.get(name) ?? [];
    values.push(value.join("="));
    parameters.set(name, values);
  }
  return parameters;
}

/**
 * Puts a value that came as text (of a query parameter or a path variable) into the JSON form of a message, under the field
 * that `fieldPath` leads to by proto or JSON names. It replaces what was there.
 */
export function setText(
  json: JsonObject,
  desc: DescMessage,
  fieldPath: readonly string[],
  values: readonly string[],
): void {
  const name = fieldPath.join(".");
  let message = desc;
  let object = json;
  for (const [i, part] of fieldPath.entries()) {
    const field = findField(message, part);
    if (field === undefined) throw refused(name, `there is no field "${name}" in ${desc.name}`);
    const there = object[field.jsonName] ?? object[field.name];
    if (field.name !== field.jsonName) delete object[field.name];
    if (i === fieldPath.length - 1) {
      object[field.jsonName] = fieldJson(field, name, values);
      return;
    }
    if (field.fieldKind !== "message") throw refused(name, `"${part}" of "${name}" has no fields of its own`);
    const inner: JsonObject = isObject(there) ? there : {};
    object[field.jsonName] = inner;
    object = inner;
    message = field.message;
  }
}

/** The field's path by proto names, so that two spellings of one parameter are seen to be one. */
export function canonicalName(desc: DescMessage, fieldPath: readonly string[]): string {
  let message: DescMessage | undefined = desc;
  const names: string[] = [];
  for (const part of fieldPath) {
    const field: DescField | undefined = message && findField(message, part);
    names.push(field?.name ?? part);
    message = field?.message;
  }
  return names.join(".");
}

function findField(desc: DescMessage, name: string): DescField | undefined {
  return desc.fields.find((field) => field.name === name || field.jsonName === name);
}

function fieldJson(field: DescField, name: string, values: readonly string[]): JsonValue {
  if (field.fieldKind === "list") return values.map((value) => leafJson(field, name, value));
  const [value = "", ...more] = values;
  if (more.length > 0) throw refused(name, `"${name}" takes one value, and ${values.length} were given`);
  return leafJson(field, name, value);
}

/** fromJson understands texts for all leaves but these: booleans, enum numbers, and field masks in proto names. */
function leafJson(field: DescField, name: string, value: string): JsonValue {
  if (field.fieldKind === "map") throw refused(name, `"${name}" is a map, which the URL cannot carry`);
  if (field.enum) return enumJson(field.enum, name, value);
  if (field.message) return messageJson(field.message, name, value);
  return field.scalar === ScalarType.BOOL ? booleanJson(name, value) : value;
}

function messageJson(desc: DescMessage, name: string, value: string): JsonValue {
  switch (desc.typeName) {
    case "google.protobuf.Timestamp":
    case "google.protobuf.Duration":
      return value;
    case "google.protobuf.FieldMask":
      return value.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    case "google.protobuf.BoolValue":
      return booleanJson(name, value);
    default:
      if (/^google\.protobuf\.\w+Value$/.test(desc.typeName) && desc.fields[0]?.fieldKind === "scalar") return value;
      throw refused(name, `"${name}" is a ${desc.name}: name its fields, with dots between`);
  }
}

function enumJson(desc: DescEnum, name: string, value: string): JsonValue {
  if (/^-?\d{1,10}$/.test(value)) return Number(value);
  const names = desc.values.map((known) => known.name);
  if (names.includes(value)) return value;
  throw refused(name, `"${name}" is one of ${names.join(", ")}, and "${value.slice(0, 64)}" is none of them`);
}

function booleanJson(name: string, value: string): boolean {
  if (value === "true" || value === "false") return value === "true";
  throw refused(name, `"${name}" is true or false, and "${value.slice(0, 64)}" is neither`);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(field: string, description: string): MissionControlError {
  return new MissionControlError("INVALID_ARGUMENT", description, { violations: [{ field, description }] });
}
