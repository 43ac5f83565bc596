import { type DescEnum, type DescField, type DescMessage, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { getComments } from "@bufbuild/protoplugin";
import { type FieldRules, field as rulesOption } from "../../gen/buf/validate/validate_pb.ts";

export type Json = { [name: string]: unknown };

const wellKnown: Record<string, Json> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?\\d+(\\.\\d{1,9})?s$", examples: ["1.5s"] },
};

/** The schemas that answers and requests refer to, each made when first referred to. */
export class Schemas {
  readonly components: Record<string, Json> = {};

  /** The schema of a message, by reference. */
  message(desc: DescMessage): Json {
    const known = wellKnown[desc.typeName];
    if (known) return known;
    const name = schemaName(desc);
    if (!Object.hasOwn(this.components, name)) {
      this.components[name] = {};
      this.components[name] = this.object(desc, desc.fields);
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  /** The schema of some of a message's fields, in place. */
  object(desc: DescMessage, fields: readonly DescField[]): Json {
    const required = fields.filter(isRequired).map((field) => field.jsonName);
    return {
      type: "object",
      description: commentOf(desc),
      properties: Object.fromEntries(fields.map((field) => [field.jsonName, this.field(field)])),
      ...(required.length > 0 && { required }),
    };
  }

  /** The schema of a field, with its comment and its bounds. */
  field(field: DescField): Json {
    return { ...this.#shape(field), description: commentOf(field) };
  }

  #shape(field: DescField): Json {
    const rules = rulesOf(field);
    if (field.fieldKind === "map") {
      const value = field.message
        ? this.message(field.message)
        : field.enum
          ? this.#enum(field.enum)
          : scalar(field.scalar);
      return { type: "object", additionalProperties: value };
    }
    if (field.fieldKind !== "list") return { ...this.#leaf(field), ...bounds(rules) };
    const repeated = rules?.type.case === "repeated" ? rules.type.value : undefined;
    return {
      type: "array",
      items: { ...this.#leaf(field), ...bounds(repeated?.items) },
      ...(repeated && repeated.minItems > 0n && { minItems: Number(repeated.minItems) }),
      ...(repeated && repeated.maxItems > 0n && { maxItems: Number(repeated.maxItems) }),
    };
  }

  #leaf(field: DescField): Json {
    if (field.message) return this.message(field.message);
    if (field.enum) return this.#enum(field.enum);
    return scalar(field.scalar as ScalarType);
  }

  #enum(desc: DescEnum): Json {
    const name = schemaName(desc);
    this.components[name] ??= {
      type: "string",
      enum: desc.values.map((value) => value.name),
      description: [
        commentOf(desc),
        "",
        ...desc.values.map((value) => `- \`${value.name}\`: ${commentOf(value).replaceAll("\n", " ")}`),
      ].join("\n"),
    };
    return { $ref: `#/components/schemas/${name}` };
  }
}

/** The comment above a declaration, as text. */
export function commentOf(desc: Parameters<typeof getComments>[0]): string {
  const { leading = "", trailing = "" } = getComments(desc);
  return (leading || trailing)
    .split("\n")
    .map((line) => line.replace(/^ /, "").trimEnd())
    .join("\n")
    .trim();
}

/** True where an empty value is refused. */
export function isRequired(field: DescField): boolean {
  const rules = rulesOf(field);
  return rules?.required === true || (rules?.type.case === "string" && rules.type.value.minLen > 0n);
}

/** "Workflow.Status" for missioncontrol.v1.Workflow.Status. */
function schemaName(desc: DescMessage | DescEnum): string {
  const inOurPackage = /^missioncontrol\.v\d+\.(.+)$/.exec(desc.typeName);
  return inOurPackage?.[1] ?? desc.typeName;
}

function rulesOf(field: DescField): FieldRules | undefined {
  return hasOption(field, rulesOption) ? getOption(field, rulesOption) : undefined;
}

function scalar(type: ScalarType): Json {
  switch (type) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: "integer", format: "int32" };
    default:
      // 64-bit integers are strings in proto3 JSON: a JSON number would round them.
      return { type: "string", format: "int64" };
  }
}

/** The protovalidate rules that JSON Schema has words for. The rest is in the comments. */
function bounds(rules: FieldRules | undefined): Json {
  if (rules?.type.case === "string") {
    const { minLen, maxLen, pattern, wellKnown } = rules.type.value;
    return {
      ...(minLen > 0n && { minLength: Number(minLen) }),
      ...(maxLen > 0n && { maxLength: Number(maxLen) }),
      ...(pattern !== "" && { pattern }),
      ...(wellKnown.case === "uuid" && { format: "uuid" }),
    };
  }
  if (rules?.type.case === "int32") {
    const { greaterThan, lessThan } = rules.type.value;
    return {
      ...(greaterThan.case === "gte" && { minimum: greaterThan.value }),
      ...(greaterThan.case === "gt" && { exclusiveMinimum: greaterThan.value }),
      ...(lessThan.case === "lte" && { maximum: lessThan.value }),
      ...(lessThan.case === "lt" && { exclusiveMaximum: lessThan.value }),
    };
  }
  return {};
}
