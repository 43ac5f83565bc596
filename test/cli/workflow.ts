import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  HaltReceiptSchema,
  HoldSchema,
  type Workflow_Status,
  WorkflowSchema,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";

/** A workflow as a server might show it. */
export function workflow(id: string, status: Workflow_Status, more: MessageInitShape<typeof WorkflowSchema> = {}) {
  return create(WorkflowSchema, {
    workflowId: `restate:inv_${id}`,
    engine: "restate",
    type: "RefundAgent",
    name: `RefundAgent/${id}/run`,
    status,
    createTime: timestampFromMs(Date.now() - 192_000),
    ...more,
  } as MessageInitShape<typeof WorkflowSchema>);
}

/** A hold by alice. */
export const hold = create(HoldSchema, { brakeId: "br_1", reason: "pays twice, INC-42", engagedBy: "alice" });

/** A standstill 340 ms after the request, with a step in flight that finished. */
export const receipt = create(HaltReceiptSchema, {
  requestTime: timestampFromMs(Date.UTC(2026, 10, 22, 8, 35, 12, 400)),
  acceptTime: timestampFromMs(Date.UTC(2026, 10, 22, 8, 35, 12, 412)),
  standstillTime: timestampFromMs(Date.UTC(2026, 10, 22, 8, 35, 12, 740)),
  stepsInFlight: [{ name: "refund-13", startTime: timestampFromMs(Date.UTC(2026, 10, 22, 8, 35, 12)), outcome: 1 }],
  stepsStartedAfterAccept: 0,
  onResume: 1,
});
