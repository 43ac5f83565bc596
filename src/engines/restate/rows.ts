import type { EngineStatus, EngineWorkflow } from "../engine.ts";

/** What is read of `sys_invocation_status`, the cheap table, for every workflow. */
export const invocationColumns = [
  "id",
  "status",
  "completion_result",
  "completion_failure",
  "target",
  "target_service_name",
  "target_service_key",
  "target_handler_name",
  "invoked_by_id",
  "created_at",
  "modified_at",
  "running_at",
  // The engine fills scheduled_start_at only where scheduled_at is asked for as well.
  "scheduled_at",
  "scheduled_start_at",
  "completed_at",
].join(", ");

export interface InvocationRow {
  readonly id: string;
  readonly status: string;
  readonly completion_result?: string;
  readonly completion_failure?: string;
  readonly target: string;
  readonly target_service_name: string;
  readonly target_service_key?: string;
  readonly target_handler_name: string;
  readonly invoked_by_id?: string;
  readonly created_at: string;
  readonly modified_at: string;
  readonly running_at?: string;
  readonly scheduled_start_at?: string;
  readonly completed_at?: string;
}

/** What only the joined view `sys_invocation` knows: what the invoker is doing with it. */
export const attemptColumns = "id, status, next_retry_at, last_failure";

export interface AttemptRow {
  readonly id: string;
  /** pending, scheduled, ready, running, backing-off, suspended, paused, completed. */
  readonly status: string;
  readonly next_retry_at?: string;
  readonly last_failure?: string;
}

/** Metadata of services and their handlers, by name: what Restate users label with. */
export type ServiceMetadata = ReadonlyMap<
  string,
  { readonly labels: Record<string, string>; readonly handlers: ReadonlyMap<string, Record<string, string>> }
>;

const messageLimit = 4096;

export function toWorkflow(
  row: InvocationRow,
  attempt: AttemptRow | undefined,
  metadata: ServiceMetadata,
): EngineWorkflow {
  return {
    id: row.id,
    type: row.target_service_name,
    name: row.target,
    status: statusOf(row),
    phase: attempt?.status ?? row.status,
    labels: labelsOf(row, metadata),
    parentId: row.invoked_by_id,
    createTime: new Date(row.created_at),
    startTime: date(row.running_at),
    updateTime: new Date(row.modified_at),
    endTime: date(row.completed_at) ?? (row.status === "completed" ? new Date(row.modified_at) : undefined),
    errorMessage: (row.completion_failure ?? firstLine(attempt?.last_failure)).slice(0, messageLimit),
    dueTime:
      row.status === "scheduled"
        ? date(row.scheduled_start_at)
        : attempt?.status === "backing-off"
          ? date(attempt.next_retry_at)
          : undefined,
  };
}

/** Those of a handler are the same for all of its runs, of which there may be very many. */
const handlerLabels = new WeakMap<ServiceMetadata, Map<string, Readonly<Record<string, string>>>>();

function labelsOf(
  { target_service_name: service, target_handler_name: handler, target_service_key: key }: InvocationRow,
  metadata: ServiceMetadata,
): Readonly<Record<string, string>> {
  const known = handlerLabels.get(metadata) ?? new Map<string, Readonly<Record<string, string>>>();
  handlerLabels.set(metadata, known);
  const name = `${service}/${handler}`;
  const own = metadata.get(service);
  const labels = known.get(name) ?? { ...own?.labels, ...own?.handlers.get(handler), service, handler };
  known.set(name, labels);
  return key === undefined ? labels : { ...labels, key };
}

function statusOf(row: InvocationRow): EngineStatus {
  if (row.status !== "completed") return openStatusOf(row.status);
  if (row.completion_result === "success") return "completed";
  return isCanceled(row.completion_failure) ? "canceled" : "failed";
}

/**
 * How one stands that has not ended, by Restate's word for it. `invoked` is RUNNING even where the invoker calls it "ready":
 * an invocation is ready between any two of its steps, not only before its first.
 */
export function openStatusOf(status: string): EngineStatus {
  switch (status) {
    case "scheduled":
    case "inboxed":
      return "pending";
    case "paused":
      return "paused";
    default:
      return "running";
  }
}

/** Restate reports cancelling and killing as failures with these two messages. */
export const canceledFailures = ["[409] cancelled", "[409] killed"];

function isCanceled(failure: string | undefined): boolean {
  return failure !== undefined && canceledFailures.includes(failure.toLowerCase());
}

function date(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}

/** Restate's failures carry the stack of the agent's process: the first line is the message. */
export function firstLine(text: string | undefined): string {
  return text?.split("\n", 1)[0] ?? "";
}
