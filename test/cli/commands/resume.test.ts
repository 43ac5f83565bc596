import { expect, test } from "vitest";
import type { ResumeWorkflowRequest } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";

async function resume(args: string[], newStatus: Status) {
  const requests: ResumeWorkflowRequest[] = [];
  await using server = await startFakeServer({
    missionControl: {
      resumeWorkflow: (request) => {
        requests.push(request);
        return { workflowId: request.workflowId, previousStatus: Status.PAUSED, newStatus, controlledBy: "bob" };
      },
    },
  });
  return { ...(await mctl(["resume", "restate:inv_1", "--server", server.url, ...args])), requests };
}

test("resume says that it moves again", async () => {
  const { code, stdout, requests } = await resume(["--reason", "fixed"], Status.RUNNING);
  expect(code).toBe(0);
  expect(requests[0]).toMatchObject({ workflowId: "restate:inv_1", reason: "fixed", validateOnly: false });
  expect(stdout).toMatch(/^RUNNING {2}restate:inv_1 {2}\(was PAUSED\)$/m);
});

test("still RESUMING at the end of the wait is exit code 7", async () => {
  const { code, stderr } = await resume(["--reason", "fixed", "--wait", "1s"], Status.RESUMING);
  expect(code).toBe(7);
  expect(stderr).toMatch(/was not seen to move within 1s; its brake is released/);
});

test("without a reason nothing is asked, and an example is shown", async () => {
  const { code, stderr, requests } = await resume([], Status.RUNNING);
  expect({ code, requests }).toEqual({ code: 2, requests: [] });
  expect(stderr).toMatch(/mctl resume restate:inv_1 --reason "/);
});
