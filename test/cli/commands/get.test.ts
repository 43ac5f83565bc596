import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";
import { hold, receipt, workflow } from "../workflow.ts";

const paused = workflow("1", Status.PAUSED, {
  holds: [hold, { external: true }],
  haltReceipt: receipt,
  currentStep: "refund-13",
  completedSteps: 12,
  totalSteps: 40,
  labels: { owner: "payments" },
  createTime: timestampFromMs(Date.UTC(2026, 10, 22, 8)),
});

test("get shows where it stands, what holds it and its halt receipt in words", async () => {
  await using server = await startFakeServer({ missionControl: { getWorkflow: () => ({ workflow: paused }) } });
  const { code, stdout } = await mctl(["get", "restate:inv_1", "--server", server.url]);
  expect(code).toBe(0);
  for (const line of [
    /^restate:inv_1 {2}PAUSED$/m,
    /^steps done +12 of 40$/m,
    /^created +2026-11-22 08:00:00Z/m,
    /^labels +owner=payments$/m,
    /^held by +alice: "pays twice, INC-42" \[br_1\]$/m,
    /^ +somebody paused it in the engine's own tool$/m,
    /^requested +08:35:12\.400Z/m,
    /^accepted +08:35:12\.412Z \(\+12ms\)/m,
    /^standstill +08:35:12\.740Z \(\+340ms\)/m,
    /^in flight +refund-13 \(began 08:35:12Z\): finished, its result is kept$/m,
    /^steps after +0 started after the engine accepted$/m,
    /^on resume +goes on with its next step/m,
  ]) {
    expect(stdout).toMatch(line);
  }
});

test("get -o json is the response in proto3 JSON", async () => {
  await using server = await startFakeServer({ missionControl: { getWorkflow: () => ({ workflow: paused }) } });
  const { stdout } = await mctl(["get", "restate:inv_1", "-o", "json", "--server", server.url]);
  expect(JSON.parse(stdout).workflow).toMatchObject({
    workflowId: "restate:inv_1",
    status: "PAUSED",
    haltReceipt: { onResume: "KEPT", standstillTime: "2026-11-22T08:35:12.740Z" },
  });
});
