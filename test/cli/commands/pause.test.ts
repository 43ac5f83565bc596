import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type {
  PauseWorkflowRequest,
  PauseWorkflowResponseSchema,
} from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";
import { receipt } from "../workflow.ts";

async function pause(args: string[], answer: MessageInitShape<typeof PauseWorkflowResponseSchema> = {}) {
  const requests: PauseWorkflowRequest[] = [];
  await using server = await startFakeServer({
    missionControl: {
      pauseWorkflow: (request) => {
        requests.push(request);
        return {
          workflowId: "restate:inv_1",
          previousStatus: Status.RUNNING,
          newStatus: Status.PAUSED,
          controlledBy: "alice",
          auditEntryId: "ae_1",
          brakeId: "br_1",
          haltReceipt: receipt,
          ...answer,
        };
      },
    },
  });
  const finished = await mctl(["pause", "restate:inv_1", "--server", server.url, ...args]);
  return { ...finished, requests };
}

test("pause waits for the standstill and prints its receipt in words", async () => {
  const { code, stdout, requests } = await pause(["--reason", "pays twice"]);
  expect(code).toBe(0);
  expect(requests[0]).toMatchObject({ workflowId: "restate:inv_1", reason: "pays twice", emergency: false });
  expect(requests[0]?.wait && durationMs(requests[0].wait)).toBe(10_000);
  expect(requests[0]?.expiresIn).toBeUndefined();
  expect(stdout).toMatch(/^PAUSED {2}restate:inv_1 {2}\(was RUNNING\)$/m);
  expect(stdout).toMatch(/^brake +br_1$/m);
  expect(stdout).toMatch(/^ledger +ae_1$/m);
  expect(stdout).toMatch(/^standstill .*\(\+340ms\)/m);
});

test("still PAUSING at the end of the wait is exit code 7 and says that the brake stands", async () => {
  const { code, stdout, stderr } = await pause(["--reason", "x", "--wait", "2s"], { newStatus: Status.PAUSING });
  expect(code).toBe(7);
  expect(stdout).toMatch(/^PAUSING/);
  expect(stderr).toBe(
    "mctl: restate:inv_1 was not seen to stand still within 2s; the brake stands and keeps holding. " +
      "Look again: mctl get restate:inv_1\n",
  );
});

test("with -o json the answer is on stdout whatever the exit code, and why on stderr", async () => {
  const { code, stdout, stderr } = await pause(["--reason", "x", "-o", "json"], { newStatus: Status.PAUSING });
  expect(code).toBe(7);
  expect(JSON.parse(stdout)).toMatchObject({ newStatus: "PAUSING", brakeId: "br_1" });
  expect(JSON.parse(stderr)).toMatchObject({ code: 4 });
});

test("--no-wait takes PAUSING for an answer", async () => {
  const { code, requests } = await pause(["--reason", "x", "--no-wait"], { newStatus: Status.PAUSING });
  expect(code).toBe(0);
  expect(requests[0]?.wait && durationMs(requests[0].wait)).toBe(0);
});

test("every flag reaches the server", async () => {
  const requestId = "6b1f0b0e-6c1e-4c0e-9d6c-0a6c7c1c2d3e";
  const flags = ["--emergency", "--expires-in", "1h30m", "--request-id", requestId, "--validate-only"];
  const { code, stdout, requests } = await pause(["--reason", "x", ...flags], { newStatus: Status.RUNNING });
  expect(code).toBe(0);
  expect(requests[0]).toMatchObject({ emergency: true, requestId, validateOnly: true });
  expect(requests[0]?.expiresIn && durationMs(requests[0].expiresIn)).toBe(5_400_000);
  expect(stdout).toMatch(/^Nothing was done; it would be allowed\. restate:inv_1 is RUNNING\.$/m);
});

test.each([[[]], [["--reason", "  "]]])(
  "without a reason (%j) nothing is asked, and an example is shown",
  async (args) => {
    const { code, stderr, requests } = await pause(args);
    expect(code).toBe(2);
    expect(requests).toEqual([]);
    expect(stderr).toMatch(/--reason is required.*\n {2}mctl pause restate:inv_1 --reason "/);
  },
);

test("a wait beyond what the server takes is refused here", async () => {
  const { code, stderr } = await pause(["--reason", "x", "--wait", "2m"]);
  expect(code).toBe(2);
  expect(stderr).toBe("mctl: --wait must be 60s or less\n");
});
