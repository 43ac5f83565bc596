import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Selector } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { parseWorkflowId } from "../../engines/workflow-id.ts";
import { statusName } from "../status.ts";

/** What is wrong with a field of a selector, by its proto path below the selector. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** The fields of a selector that are set, by their proto names; `everything` apart. */
export function fieldsSet(selector: Selector): string[] {
  const set: Record<string, boolean> = {
    engines: selector.engines.length > 0,
    types: selector.types.length > 0,
    statuses: selector.statuses.length > 0,
    labels: selector.labels.length > 0,
    id_prefix: selector.idPrefix !== "",
    name_prefix: selector.namePrefix !== "",
    created_after: selector.createdAfter !== undefined,
    created_before: selector.createdBefore !== undefined,
    workflow_ids: selector.workflowIds.length > 0,
    expression: selector.expression !== "",
  };
  return Object.keys(set).filter((field) => set[field]);
}

/** What is wrong with the typed fields; at most 20 of a list. */
export function violationsOf(selector: Selector, knownEngines: readonly string[]): Violation[] {
  const known = knownEngines.join(", ");
  return [
    ...contradictions(selector),
    ...each("engines", selector.engines, (engine) =>
      knownEngines.includes(engine) ? undefined : `there is no engine "${engine}": this server knows ${known}`,
    ),
    ...each("statuses", selector.statuses, (status) =>
      holdable.has(status)
        ? undefined
        : `${statusName(status)} ${whyNot(status)}: leave it out, or say ${holdableNames}`,
    ),
    ...labelViolations(selector.labels),
    ...each("workflow_ids", selector.workflowIds, (workflowId) => {
      const parsed = parseWorkflowId(workflowId);
      if (parsed === undefined || parsed.id === "") {
        return `"${workflowId}" is no workflow_id: write the engine's name, a colon and its id, e.g. "${knownEngines[0]}:…"`;
      }
      if (knownEngines.includes(parsed.engine)) return undefined;
      return `"${workflowId}" names the engine "${parsed.engine}": this server knows ${known}`;
    }),
    ...timeViolations(selector.createdAfter, selector.createdBefore),
  ];
}

function contradictions(selector: Selector): Violation[] {
  const others = fieldsSet(selector);
  if (!selector.everything || others.length === 0) return [];
  const description = `contradicts ${others.join(", ")}: everything is every workflow; say one or the other`;
  return [{ field: "everything", description }];
}

/** What an engine shows of an open workflow. PAUSING and RESUMING are what brakes make of it. */
const holdable: ReadonlySet<Status> = new Set([Status.PENDING, Status.RUNNING, Status.PAUSED, Status.SILENT]);
const holdableNames = "PENDING, RUNNING, PAUSED or SILENT";

function whyNot(status: Status): string {
  if (status === Status.PAUSING || status === Status.RESUMING)
    return "is a brake's own status, which engines do not show";
  return status === Status.STATUS_UNSPECIFIED ? "is no status" : "has ended and cannot be held";
}

function labelViolations(labels: readonly string[]): Violation[] {
  const values = new Map<string, string>();
  return each("labels", labels, (label) => {
    const { key, value } = parseLabel(label);
    if (key === "") return `"${label}" is no label: write "key=value"`;
    const other = values.get(key);
    values.set(key, value);
    if (other === undefined || other === value) return undefined;
    return `"${key}" cannot be both "${other}" and "${value}": ask by expression for one of them`;
  });
}

/** "key=value"; the value may hold more "=". The key is empty where there is none. */
export function parseLabel(label: string): { key: string; value: string } {
  const at = label.indexOf("=");
  return { key: label.slice(0, Math.max(0, at)), value: label.slice(at + 1) };
}

function timeViolations(after: Timestamp | undefined, before: Timestamp | undefined): Violation[] {
  const violations: Violation[] = [];
  for (const [field, time] of [["created_after", after] as const, ["created_before", before] as const]) {
    if (time === undefined || inRange(time)) continue;
    violations.push({ field, description: "is no moment between the years 1 and 9999" });
  }
  if (violations.length === 0 && after && before && nanosOf(after) >= nanosOf(before)) {
    violations.push({ field: "created_before", description: "is not later than created_after: nothing is in between" });
  }
  return violations;
}

function inRange({ seconds, nanos }: Timestamp): boolean {
  return seconds >= -62_135_596_800n && seconds <= 253_402_300_799n && nanos >= 0 && nanos <= 999_999_999;
}

function nanosOf({ seconds, nanos }: Timestamp): bigint {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

const maxViolations = 20;

function each<Item>(field: string, items: readonly Item[], check: (item: Item) => string | undefined): Violation[] {
  const violations: Violation[] = [];
  for (const [index, item] of items.entries()) {
    const description = check(item);
    if (description !== undefined) violations.push({ field: `${field}[${index}]`, description });
    if (violations.length === maxViolations) break;
  }
  return violations;
}
