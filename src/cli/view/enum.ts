import type { DescEnum } from "@bufbuild/protobuf";

/** An enum value's name, as in JSON; a number that this version does not know stays a number. */
export function enumName(schema: DescEnum, value: number): string {
  return schema.value[value]?.name ?? String(value);
}
