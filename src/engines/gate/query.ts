import type { EngineWorkflow, WorkflowQuery } from "../engine.ts";

/** True where everything matches that the query says: what the store answers for what it keeps, for what is in memory. */
export function matches(query: WorkflowQuery, workflow: EngineWorkflow): boolean {
  return (
    (query.statuses?.includes(workflow.status) ?? true) &&
    (query.types?.includes(workflow.type) ?? true) &&
    (query.ids?.includes(workflow.id) ?? true) &&
    workflow.id.startsWith(query.idPrefix ?? "") &&
    workflow.name.startsWith(query.namePrefix ?? "") &&
    (query.createdAfter === undefined || workflow.createTime >= query.createdAfter) &&
    (query.createdBefore === undefined || workflow.createTime < query.createdBefore) &&
    Object.entries(query.labels ?? {}).every(
      ([key, value]) => Object.hasOwn(workflow.labels, key) && workflow.labels[key] === value,
    ) &&
    (query.within?.some((one) => matches(one, workflow)) ?? true)
  );
}
