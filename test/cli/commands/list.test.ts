import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type { ListWorkflowsRequest } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl, start } from "../run.ts";
import { hold, workflow } from "../workflow.ts";

test("list shows id, status, age, name and what matters most, uncut in a pipe and without colours", async () => {
  await using server = await startFakeServer({
    missionControl: {
      listWorkflows: () => ({
        workflows: [
          workflow("1", Status.PAUSED, { holds: [hold] }),
          workflow("2", Status.FAILED, { errorMessage: "card \u001b[31mdeclined\nagain" }),
        ],
        unreachableEngines: ["temporal"],
      }),
    },
  });
  const { code, stdout, stderr } = await mctl(["list", "--server", server.url]);
  expect(code).toBe(0);
  expect(stdout.split("\n")).toEqual([
    expect.stringMatching(/^WORKFLOW +STATUS +AGE +NAME +REMARK$/),
    expect.stringMatching(/^restate:inv_1 {2}PAUSED {2}3m1\ds {2}RefundAgent\/1\/run {2}alice: "pays twice, INC-42"$/),
    expect.stringMatching(/^restate:inv_2 {2}FAILED {2}3m1\ds {2}RefundAgent\/2\/run {2}card declined again$/),
    "",
  ]);
  expect(stderr).toBe("mctl: engine temporal did not answer: its workflows are missing here\n");
});

test("all filters reach the server", async () => {
  let request: ListWorkflowsRequest | undefined;
  await using server = await startFakeServer({
    missionControl: {
      listWorkflows: (req) => {
        request = req;
        return {};
      },
    },
  });
  const filters = [
    "--status",
    "running,PAUSED",
    "--type",
    "A",
    "--type",
    "B",
    "--engine",
    "restate",
    "--label",
    "a=b,c",
  ];
  const times = ["--since", "1h", "--until", "2026-11-22T08:00Z", "--limit", "7"];
  await mctl(["list", "--server", server.url, ...filters, ...times]);
  expect(request).toMatchObject({
    status: [Status.RUNNING, Status.PAUSED],
    type: ["A", "B"],
    engine: ["restate"],
    label: ["a=b,c"],
    pageSize: 7,
  });
  expect(request?.createdAfter && Date.now() - timestampMs(request.createdAfter)).toBeGreaterThanOrEqual(3_600_000);
  expect(request?.createdBefore && timestampMs(request.createdBefore)).toBe(Date.UTC(2026, 10, 22, 8));
});

test("pages are followed to the limit, or to the end with --all, and JSON is one object", async () => {
  const tokens: string[] = [];
  await using server = await startFakeServer({
    missionControl: {
      listWorkflows: ({ pageToken }) => {
        tokens.push(pageToken);
        const page = Number(pageToken || "1");
        return { workflows: [workflow(String(page), Status.RUNNING)], nextPageToken: page < 3 ? String(page + 1) : "" };
      },
    },
  });
  const all = await mctl(["list", "--all", "-o", "json", "--server", server.url]);
  expect(tokens).toEqual(["", "2", "3"]);
  const answer = JSON.parse(all.stdout);
  expect(answer.workflows.map((each: { workflowId: string }) => each.workflowId)).toEqual([
    "restate:inv_1",
    "restate:inv_2",
    "restate:inv_3",
  ]);
  expect(answer).toMatchObject({ nextPageToken: "", unreachableEngines: [] });
  const two = await mctl(["list", "--limit", "2", "--server", server.url]);
  expect(tokens).toEqual(["", "2", "3", "", "2"]);
  expect(two.stderr).toBe("The newest 2; there are more: --limit or --all.\n");
});

test("a reader that goes away early is no failure", async () => {
  await using server = await startFakeServer({
    missionControl: {
      listWorkflows: () => ({ workflows: Array.from({ length: 50 }, (_, i) => workflow(String(i), Status.RUNNING)) }),
    },
  });
  const { child, finished } = start(["list", "--server", server.url]);
  child.stdout?.destroy();
  expect(await finished).toMatchObject({ code: 0, stderr: "" });
});
