/** The public name of a workflow: "<engine>:<the engine's own id>", URL-safe. */
export function formatWorkflowId(engine: string, id: string): string {
  return `${engine}:${id}`;
}

/** Splits a workflow_id; undefined where there is no engine's name before a colon. */
export function parseWorkflowId(workflowId: string): { engine: string; id: string } | undefined {
  const colon = workflowId.indexOf(":");
  if (colon <= 0) return undefined;
  return { engine: workflowId.slice(0, colon), id: workflowId.slice(colon + 1) };
}
