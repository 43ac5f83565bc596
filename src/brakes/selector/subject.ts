import { CelScalar, type CelType, mapType, objectType } from "@bufbuild/cel";
import { type Timestamp, TimestampSchema, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { EngineStatus, EngineWorkflow } from "../../engines/engine.ts";
import { formatWorkflowId } from "../../engines/workflow-id.ts";

const timestamp = objectType(TimestampSchema);

/** The type of the variable `workflow`, for the type check: only what subjectFields names can be read of it. */
export const subjectType = objectType("workflow");

/** What an expression can ask of `workflow`. `optional`: may be absent, `has()` tells. */
export const subjectFields: ReadonlyMap<string, { readonly type: CelType; readonly optional?: true }> = new Map([
  ["id", { type: CelScalar.STRING }],
  ["engine", { type: CelScalar.STRING }],
  ["type", { type: CelScalar.STRING }],
  ["name", { type: CelScalar.STRING }],
  ["status", { type: CelScalar.STRING }],
  ["phase", { type: CelScalar.STRING }],
  ["labels", { type: mapType(CelScalar.STRING, CelScalar.STRING) }],
  ["owner", { type: CelScalar.STRING }],
  ["parent_id", { type: CelScalar.STRING }],
  ["create_time", { type: timestamp }],
  ["start_time", { type: timestamp, optional: true }],
]);

/** Characters that a workflow brings into an evaluation: what an expression does with them takes time by their number. */
const maxText = 8192;

/**
 * The value of the variable `workflow`: ids are workflow_ids, `status` is PENDING, RUNNING, PAUSED or SILENT, `owner` is the label
 * of that name, `parent_id` is empty for a root. A Map, so that no name finds anything that was not put there.
 * Throws where it is too long to be asked about, or has no valid times.
 */
export function subjectOf(engine: string, workflow: EngineWorkflow): Map<string, Subject> {
  const labels = new Map(Object.entries(workflow.labels));
  let length = workflow.id.length + workflow.type.length + workflow.name.length;
  for (const [key, value] of labels) length += key.length + value.length;
  if (length > maxText) throw new Error(`its name and labels have more than ${maxText} characters`);
  const subject = new Map<string, Subject>([
    ["id", formatWorkflowId(engine, workflow.id)],
    ["engine", engine],
    ["type", workflow.type],
    ["name", workflow.name],
    ["status", openStatusNames[workflow.status] ?? ""],
    ["phase", workflow.phase],
    ["labels", labels],
    ["owner", labels.get("owner") ?? ""],
    ["parent_id", workflow.parentId === undefined ? "" : formatWorkflowId(engine, workflow.parentId)],
    ["create_time", timestampFromDate(workflow.createTime)],
  ]);
  if (workflow.startTime) subject.set("start_time", timestampFromDate(workflow.startTime));
  return subject;
}

type Subject = string | Timestamp | Map<string, string>;

/** Only what is open is ever asked about: what has ended cannot be held. */
const openStatusNames: Partial<Record<EngineStatus, string>> = {
  pending: "PENDING",
  running: "RUNNING",
  paused: "PAUSED",
  silent: "SILENT",
};
