import { create } from "@bufbuild/protobuf";
import { Workflow_Status, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { PolicyQuestion } from "../../src/policy/policy.ts";

export const workflow = create(WorkflowSchema, {
  workflowId: "restate:inv_1",
  engine: "restate",
  type: "RefundAgent",
  name: "RefundAgent/run",
  status: Workflow_Status.RUNNING,
  owner: "payments-team",
  labels: { team: "payments", tier: "1" },
});

/** An sre pauses a workflow. */
export const pause: PolicyQuestion = {
  action: "runtime.pause",
  principal: {
    issuer: "i",
    subject: "alice",
    roles: ["sre"],
    tokenId: "t",
    issueTime: 0,
    expireTime: 0,
    authenticationMethod: "jwt",
  },
  workflow,
  reason: "it pays twice",
  emergency: false,
  time: new Date("2026-03-01T13:30:00Z"),
  protocol: "grpc",
  source: "127.0.0.1",
};

/** The same by somebody with another role. */
export const as = (role: string) => ({ ...pause.principal, roles: [role] });
