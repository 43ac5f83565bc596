import type { JsonObject } from "@bufbuild/protobuf";
import { type Workflow, Workflow_StatusSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { BrakeFacts, PolicyQuestion } from "./policy.ts";

/** The workflow's status as the API names it. */
export function statusNameOf({ status }: Workflow): string {
  return Workflow_StatusSchema.value[status]?.name ?? "STATUS_UNSPECIFIED";
}

/** The hour (0–23) and the day of the week (1 Monday – 7 Sunday) in UTC. */
export function clockOf(time: Date): { hour: number; weekday: number } {
  return { hour: time.getUTCHours(), weekday: time.getUTCDay() === 0 ? 7 : time.getUTCDay() };
}

/** Whole seconds since the caller proved who they are; undefined where the token does not say when that was. */
export function authenticationAgeOf({ principal, time }: PolicyQuestion): number | undefined {
  const { authenticationTime } = principal;
  return authenticationTime === undefined
    ? undefined
    : Math.max(0, Math.floor((time.getTime() - authenticationTime) / 1_000));
}

/** What a remote is told of the caller; docs/policy.md has the keys. */
export function userFacts(question: PolicyQuestion): JsonObject {
  const { principal } = question;
  const age = authenticationAgeOf(question);
  return {
    issuer: principal.issuer,
    id: principal.subject,
    roles: [...principal.roles].sort(),
    machine: principal.machine === true,
    ...(principal.tenant !== undefined && { tenant: principal.tenant }),
    authentication: {
      method: principal.authenticationMethod,
      ...(principal.authenticationMethods && { methods: [...principal.authenticationMethods] }),
      ...(principal.authenticationContext !== undefined && { level: principal.authenticationContext }),
      ...(age !== undefined && { age_seconds: age }),
    },
  };
}

/** What a remote is told of the workflow. */
export function workflowFacts(workflow: Workflow): JsonObject {
  const { workflowId, engine, type, name, owner, labels } = workflow;
  return { id: workflowId, engine, type, name, status: statusNameOf(workflow), owner, labels: { ...labels } };
}

/** What a remote is told of the brake; without a radius where any number is within it. */
export function brakeFacts({ brakeId, radius, ...facts }: BrakeFacts): JsonObject {
  return { id: brakeId, ...facts, ...(Number.isFinite(radius) && { radius }) };
}

/** What a remote is told beside the caller, the action, the workflow and the brake. */
export function callFacts(question: PolicyQuestion): JsonObject {
  const { reason, emergency, ticket = "", time, protocol, source, client = "", hypothetical = false } = question;
  return {
    reason: reason.trim(),
    emergency,
    ticket,
    time: time.toISOString(),
    ...clockOf(time),
    protocol,
    source_address: source,
    client_version: client,
    ...(hypothetical && { hypothetical }),
  };
}
