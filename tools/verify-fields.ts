import { writeFileSync } from "node:fs";
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { DisclosureSchema } from "../gen/missioncontrol/v1/audit_personal_pb.ts";
import { columns } from "../src/proof/csv.ts";

/** Writes what examples/verify has to know of the proto, as Python. `node tools/verify-fields.ts [file]` */
const messages = new Map<string, DescMessage>();
const enums = new Map<string, DescEnum>();
for (const schema of [AuditEntrySchema, DisclosureSchema]) collect(schema);

const text = [
  "# Made from proto/ by tools/verify-fields.ts (npm run generate): what an entry consists of. Not to be edited.",
  "MESSAGES = {",
  ...[...messages.values()].flatMap(({ typeName, fields }) => [
    `    "${typeName}": {`,
    ...fields
      .toSorted((a, b) => a.number - b.number)
      .map((field) => `        ${field.number}: ("${field.jsonName}", "${kindOf(field)}", ${isList(field)}),`),
    "    },",
  ]),
  "}",
  "ENUMS = {",
  ...[...enums.values()].flatMap(({ typeName, values }) => [
    `    "${typeName}": {${values.map(({ number, name }) => `${number}: "${name}"`).join(", ")}},`,
  ]),
  "}",
  "CSV_COLUMNS = [",
  ...columns.map((column) => `    "${column}",`),
  "]",
  "",
].join("\n");
writeFileSync(process.argv[2] ?? "examples/verify/fields.py", text);

function collect(schema: DescMessage): void {
  if (messages.has(schema.typeName) || schema.typeName.startsWith("google.protobuf.")) return;
  messages.set(schema.typeName, schema);
  for (const field of schema.fields) {
    if (field.message) collect(field.message);
    if (field.enum) enums.set(field.enum.typeName, field.enum);
  }
}

function kindOf({ message, enum: enumType, scalar, parent, name }: DescField): string {
  if (message) return message.typeName;
  if (enumType) return `enum ${enumType.typeName}`;
  const kind = scalar === undefined ? undefined : ScalarType[scalar]?.toLowerCase();
  if (kind === undefined || !["string", "bytes", "bool", "int32", "int64"].includes(kind)) {
    throw new Error(`examples/verify knows no fields like ${parent.typeName}.${name}`);
  }
  return kind;
}

function isList({ fieldKind }: DescField): "True" | "False" {
  return fieldKind === "list" ? "True" : "False";
}
