import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Selector } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { statusName } from "../status.ts";

const maxLength = 200;

/** A selector in a few words, at most 200 characters on one line. */
export function describe(selector: Selector): string {
  if (selector.everything) return "everything";
  const { engines, types, statuses, labels, workflowIds } = selector;
  const parts = [
    anyOf("engine", engines),
    anyOf("type", types),
    anyOf("status", statuses.map(statusName)),
    ...labels.map((label) => `label ${label}`),
    selector.idPrefix && `id ${selector.idPrefix}…`,
    selector.namePrefix && `name ${selector.namePrefix}…`,
    selector.createdAfter && `created since ${timestampDate(selector.createdAfter).toISOString()}`,
    selector.createdBefore && `created before ${timestampDate(selector.createdBefore).toISOString()}`,
    workflowIds.length > 3 ? `${workflowIds.length} workflows by id` : anyOf("workflow", workflowIds),
    selector.expression && `expression ${selector.expression}`,
  ];
  const text = parts
    .filter(Boolean)
    .join(", ")
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
  return text.length <= maxLength ? text : `${cut(text, maxLength - 1)}…`;
}

function anyOf(what: string, values: readonly string[]): string {
  return values.length === 0 ? "" : `${what} ${values.join(" or ")}`;
}

/** Cuts without leaving half of a surrogate pair. */
function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
}
