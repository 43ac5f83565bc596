import { type DescMethod, isFieldSet, type Message, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import type { RequestFieldSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";

/**
 * The fields of requests that enter the ledger, beside those that entries have fields of their own for (reason, ticket, …).
 * Nothing else of a request does: a field that a later RPC brings stays out until it is named here.
 */
const allowed: ReadonlySet<string> = new Set([
  "selector",
  "exclude_descendants",
  "expires_in",
  "expected_set_hash",
  "staged",
  "validate_only",
  "engine",
  "etag",
]);

/** What these fields of a request say, where they are set. */
export function requestFields(
  { input }: DescMethod,
  request: Message | undefined,
): MessageInitShape<typeof RequestFieldSchema>[] {
  if (request === undefined) return [];
  const fields = input.fields.filter((field) => allowed.has(field.name) && isFieldSet(request, field));
  if (fields.length === 0) return [];
  const json = toJson(input, request, { useProtoFieldName: true }) as Record<string, unknown>;
  return fields.map(({ name }) => ({ name, json: JSON.stringify(json[name]) }));
}
