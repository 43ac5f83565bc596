import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import {
  TraceEntry_Kind as Kind,
  TraceEntry_Outcome as Outcome,
  Workflow_Status as Status,
} from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";
import { hold, workflow } from "../workflow.ts";

function pages() {
  const startTime = timestampFromMs(Date.now() - 10_000);
  const step = (index: number, outcome: Outcome) => ({
    index,
    kind: Kind.STEP,
    name: `step-${index}`,
    startTime,
    outcome,
  });
  return startFakeServer({
    missionControl: {
      getWorkflowTrace: ({ pageToken }) => ({
        workflow: workflow("1", Status.PAUSED, { holds: [hold] }),
        entries: [pageToken === "" ? step(0, Outcome.SUCCEEDED) : step(1, Outcome.IN_FLIGHT)],
        inFlight: [step(1, Outcome.IN_FLIGHT)],
        nextPageToken: pageToken === "" ? "more" : "",
      }),
    },
  });
}

test("trace shows where the workflow stands, who holds it, and its timeline", async () => {
  await using server = await pages();
  const { code, stdout, stderr } = await mctl(["trace", "restate:inv_1", "--server", server.url]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.split("\n");
  expect(lines[0]).toBe("restate:inv_1  PAUSED");
  expect(lines[2]).toBe('held by alice: "pays twice, INC-42"');
  expect(stdout).toMatch(/^step-1 .*█▶ +1\ds {2}in flight$/m);
});

test("a limit is told, and what is in flight is drawn all the same", async () => {
  await using server = await pages();
  const { stdout, stderr } = await mctl(["trace", "restate:inv_1", "--limit", "1", "--server", server.url]);
  expect(stderr).toBe("The oldest 1 entries; there are more: --limit or --all.\n");
  expect(stdout).toMatch(/^step-1 .* in flight$/m);
});

test("trace -o json is one response with all pages", async () => {
  await using server = await pages();
  const { stdout } = await mctl(["trace", "restate:inv_1", "-o", "json", "--server", server.url]);
  expect(JSON.parse(stdout)).toMatchObject({
    workflow: { status: "PAUSED" },
    entries: [{ name: "step-0" }, { name: "step-1", outcome: "IN_FLIGHT" }],
    inFlight: [{ name: "step-1" }],
    nextPageToken: "",
  });
});
