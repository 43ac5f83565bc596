import { create } from "@bufbuild/protobuf";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type ExplainedBrake,
  type ExplainedCaller,
  type ExplainedWorkflow,
  type ExplainPolicyRequest,
  type ExplainPolicyResponse,
  ExplainPolicyResponseSchema,
} from "../../gen/missioncontrol/v1/access_pb.ts";
import {
  type Workflow,
  type Workflow_Status,
  Workflow_StatusSchema,
  WorkflowSchema,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { parseLabel } from "../brakes/selector/validate.ts";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import type { Call } from "../interceptors/context.ts";
import { questionOf } from "../interceptors/question.ts";
import type { BrakeFacts, Policy } from "../policy/policy.ts";
import { decisionMessage } from "./policy.ts";

/** What policy decides for the inputs of the request; what these leave open is as in the call itself. */
export async function explain(
  policy: Policy,
  call: Call,
  request: ExplainPolicyRequest,
  signal: AbortSignal,
): Promise<ExplainPolicyResponse> {
  const { action, reason, emergency, ticket, protocol, sourceAddress, client } = request;
  const workflow = request.workflow ? workflowOf(request.workflow) : call.target;
  const asked = questionOf(call, {
    ...{ action, workflow, reason, emergency, ticket, hypothetical: true },
    ...(request.brake && { brake: brakeOf(request.brake) }),
  });
  const time = request.time ? timestampDate(request.time) : asked.time;
  const decision = await policy.check(
    {
      ...asked,
      time,
      principal: request.caller ? principalOf(request.caller, time) : asked.principal,
      protocol: protocol || asked.protocol,
      source: sourceAddress || asked.source,
      client: client || asked.client || "",
    },
    signal,
  );
  return create(ExplainPolicyResponseSchema, {
    decision: decisionMessage(decision),
    workflowId: call.target?.workflowId ?? "",
  });
}

function workflowOf({ engine, type, name, status, owner, labels }: ExplainedWorkflow): Workflow {
  const known = Workflow_StatusSchema.values.find((value) => value.name === (status || "RUNNING"));
  if (known === undefined || known.number === 0) {
    throw new MissionControlError("INVALID_ARGUMENT", `workflow.status is "${status}", which is no status`, {
      violations: [{ field: "workflow.status", description: "is no status, like RUNNING or PAUSED" }],
    });
  }
  return create(WorkflowSchema, {
    workflowId: `${engine}:explained`,
    ...{ engine, type, name, owner },
    status: known.number as Workflow_Status,
    labels: Object.fromEntries(labels.map(parseLabel).map(({ key, value }) => [key, value])),
  });
}

function principalOf(caller: ExplainedCaller, time: Date): Principal {
  const { issuer, subject, roles, machine, tenant, authenticationMethods, authenticationLevel, authenticationAge } =
    caller;
  return {
    ...{ issuer, subject, roles, machine },
    ...(tenant !== "" && { tenant }),
    tokenId: "",
    issueTime: 0,
    expireTime: 0,
    authenticationMethod: "jwt",
    ...(authenticationMethods.length > 0 && { authenticationMethods }),
    ...(authenticationLevel !== "" && { authenticationContext: authenticationLevel }),
    ...(authenticationAge && { authenticationTime: time.getTime() - durationMs(authenticationAge) }),
  };
}

function brakeOf({ brakeId, matched, radius, everything, emergency, own, staged }: ExplainedBrake): BrakeFacts {
  return {
    ...{ brakeId, everything, emergency, own, staged },
    matched: Number(matched),
    radius: radius === undefined ? Number.POSITIVE_INFINITY : Number(radius),
  };
}
