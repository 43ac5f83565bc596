import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type { PreviewBrakeRequest } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { startFakeServer } from "./fake-server.ts";
import { mctl, temporaryFolder } from "./run.ts";

async function preview(args: readonly string[], options: { cwd?: string; input?: string } = {}) {
  const requests: PreviewBrakeRequest[] = [];
  await using server = await startFakeServer({
    brakes: {
      previewBrake: (request) => {
        requests.push(request);
        return { matched: 1, setHash: "abc" };
      },
    },
  });
  const finished = await mctl(["brake", "preview", "--server", server.url, ...args], options);
  return { ...finished, requests, selector: requests[0]?.selector };
}

test("every flag reaches the server, and comes back in the line to go on with, ages as times", async () => {
  const flags = [
    ...["--engine", "restate", "--type", "A,B", "--status", "pending", "--status", "RUNNING", "--label", "note=a b,c"],
    ...["--id-prefix", "restate:inv_1", "--name-prefix", "Refund", "--since", "1h", "--until", "2026-11-22T08:00Z"],
    ...["--workflow", "w1,w2", "--expr", "workflow.owner == 'pay'", "--no-descendants"],
  ];
  const { code, selector, requests, stdout } = await preview(flags);
  expect(code).toBe(0);
  expect(selector).toMatchObject({
    engines: ["restate"],
    types: ["A", "B"],
    statuses: [Status.PENDING, Status.RUNNING],
    labels: ["note=a b,c"],
    idPrefix: "restate:inv_1",
    namePrefix: "Refund",
    workflowIds: ["w1", "w2"],
    expression: "workflow.owner == 'pay'",
    everything: false,
  });
  expect(requests[0]?.excludeDescendants).toBe(true);
  expect(selector?.createdBefore && timestampMs(selector.createdBefore)).toBe(Date.UTC(2026, 10, 22, 8));
  const since = selector?.createdAfter && new Date(timestampMs(selector.createdAfter)).toISOString();
  expect(stdout).toContain(
    "--engine restate --type A --type B --status PENDING --status RUNNING --label 'note=a b,c' " +
      `--id-prefix restate:inv_1 --name-prefix Refund --since ${since} --until 2026-11-22T08:00:00.000Z ` +
      "--workflow w1 --workflow w2 --expr 'workflow.owner == '\\''pay'\\''' --no-descendants " +
      '--expect-set abc --reason "…"\n',
  );
});

test("a selector that says nothing is a usage error with examples, and nothing is asked", async () => {
  const { code, stderr, requests } = await preview(["--no-descendants"]);
  expect({ code, requests }).toEqual({ code: 2, requests: [] });
  expect(stderr).toMatch(/^mctl: nothing says which workflows to hold\./);
  expect(stderr.match(/^ {2}mctl brake preview --/gm)?.length).toBe(4);
});

test("everything has to be said, and cannot be narrowed", async () => {
  expect((await preview(["--everything"])).selector?.everything).toBe(true);
  expect(await preview(["--everything", "--type", "A"])).toMatchObject({ code: 2, requests: [] });
});

test("a list is read from a file or from standard input, without comments and doubles", async () => {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "ids.txt"), "# INC-42\nw1\n\n  w2  \r\nw1\n");
  expect((await preview(["--workflows-from", "ids.txt"], { cwd })).selector?.workflowIds).toEqual(["w1", "w2"]);
  const piped = await preview(["--workflows-from", "-", "--workflow", "w0"], { input: "w3\nw4" });
  expect(piped.selector?.workflowIds).toEqual(["w0", "w3", "w4"]);
  expect(piped.stdout).toContain("with the same list on standard input");
});

test.each([
  ["", /standard input names no workflow/],
  ["# none today\n", /standard input names no workflow/],
  ["w1\nw2 w3\n", /line 2 of standard input is not one workflow_id: "w2 w3"/],
  [Array.from({ length: 10_001 }, (_, i) => `w${i}`).join("\n"), /names 10001 workflows, more than 10000/],
])("a list that cannot be meant never becomes no condition (%#)", async (input, message) => {
  const { code, stderr, requests } = await preview(["--type", "A", "--workflows-from", "-"], { input });
  expect({ code, requests }).toEqual({ code: 2, requests: [] });
  expect(stderr).toMatch(message);
});

test("a list that is not there is named", async () => {
  const { code, stderr } = await preview(["--workflows-from", "gone.txt"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/cannot read the list of workflows: ENOENT.*gone\.txt/);
});

test.each(["--id-prefix", "--name-prefix", "--expr", "--type", "--workflow"])("%s is never empty", async (flag) => {
  expect(await preview([flag, ""])).toMatchObject({ code: 2, requests: [] });
});
