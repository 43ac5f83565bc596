import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type { PreviewBrakeRequest, PreviewBrakeResponseSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";
import { workflow } from "../../workflow.ts";

const answer: MessageInitShape<typeof PreviewBrakeResponseSchema> = {
  matched: 312,
  setHash: "a3f1",
  sample: [workflow("1", Status.RUNNING)],
  engines: [
    { engine: "restate", matched: 312, running: 300, pending: 12, halt: "native", stepInFlight: "finishes", gates: 3 },
  ],
  mayRerun: 4,
  needsApproval: true,
  blastRadius: 100,
  policyDenial: "refunds are frozen",
  deadlinesAtRisk: [
    { workflowId: "restate:inv_1", dueTime: timestampFromMs(Date.UTC(2026, 10, 22, 9)), what: "approval timeout" },
  ],
};

async function preview(...args: string[]) {
  const requests: PreviewBrakeRequest[] = [];
  await using server = await startFakeServer({
    brakes: {
      previewBrake: (request) => {
        requests.push(request);
        return answer;
      },
    },
  });
  const finished = await mctl(["brake", "preview", "--type", "A", ...args], { env: { MCTL_SERVER: server.url } });
  return { ...finished, request: requests[0] };
}

test("preview says how many, where and how, who has to approve, what may re-run, and what policy says", async () => {
  const { code, stdout, stderr } = await preview();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^Would hold 312 workflows now, and what matches later\.$/m);
  expect(stdout).toMatch(/^may re-run +4 workflows may RUN A STEP AGAIN on resume$/m);
  expect(stdout).toMatch(/^approval +NEEDED from a second person \(your limit: 100 workflows\)$/m);
  expect(stdout).toMatch(/^policy +WOULD DENY IT: refunds are frozen$/m);
  expect(stdout).toMatch(/^restate +312 +300 +12 +0 +own pause, 3 gates +finishes, kept$/m);
  expect(stdout).toMatch(/^restate:inv_1 +RUNNING/m);
  expect(stdout).toMatch(/^restate:inv_1 +2026-11-22 09:00:00Z +approval timeout$/m);
});

test("it ends with the line to go on with, which holds only what was shown", async () => {
  const { stdout, request } = await preview("--reason", "pays twice", "--emergency", "--sample", "3");
  expect(request).toMatchObject({ reason: "pays twice", emergency: true, sampleSize: 3, excludeDescendants: false });
  expect(stdout).toMatch(/\n {2}mctl brake engage --type A --emergency --expect-set a3f1 --reason 'pays twice'\n$/);
});

test("a reason is left to be filled in, and the server stays the one that was asked, without a token", async () => {
  const { stdout } = await preview("--token", "secret", "--timeout", "9s", "--data-dir", "/x");
  expect(stdout).toMatch(/\n {2}mctl brake engage --data-dir \/x --type A --expect-set a3f1 --reason "…"\n$/);
});

test("preview -o json is the answer itself", async () => {
  const { stdout } = await preview("-o", "json");
  expect(JSON.parse(stdout)).toMatchObject({ matched: 312, setHash: "a3f1", engines: [{ paused: 0 }] });
});
