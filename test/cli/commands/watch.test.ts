import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { WatchWorkflowsResponse_Kind as Kind } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { failure } from "../failures.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl, start } from "../run.ts";
import { workflow } from "../workflow.ts";

const eventTime = timestampFromMs(Date.UTC(2026, 10, 22, 8, 36, 4));
const changed = (status: Status, resumeToken: string) => ({
  kind: Kind.CHANGED,
  workflow: workflow("1", status),
  resumeToken,
  eventTime,
});

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

test("watch prints the snapshot as a table, then changes as lines; Ctrl-C ends it with exit code 0", async () => {
  await using server = await startFakeServer({
    missionControl: {
      watchWorkflows: async function* (_, { signal }) {
        yield { kind: Kind.SNAPSHOT_BEGIN };
        yield { kind: Kind.SNAPSHOT, workflow: workflow("1", Status.RUNNING) };
        yield { kind: Kind.SNAPSHOT_END, resumeToken: "r1" };
        yield { kind: Kind.HEARTBEAT, resumeToken: "r1" };
        // A step further: nothing that one would see.
        yield changed(Status.RUNNING, "r2");
        yield changed(Status.PAUSED, "r3");
        await untilAborted(signal);
      },
    },
  });
  const { child, sees, finished } = start(["watch", "--server", server.url]);
  await sees(/PAUSED/);
  child.kill("SIGINT");
  const { code, stdout, stderr } = await finished;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.split("\n")).toEqual([
    expect.stringMatching(/^WORKFLOW +STATUS/),
    expect.stringMatching(/^restate:inv_1 +RUNNING/),
    "",
    "08:36:04Z  PAUSED       restate:inv_1  RefundAgent/1/run",
    "",
  ]);
});

test("watch goes on behind the last event after an outage", async () => {
  const tokens: string[] = [];
  await using server = await startFakeServer({
    missionControl: {
      watchWorkflows: async function* ({ resumeToken }, { signal }) {
        tokens.push(resumeToken);
        if (tokens.length === 1) {
          yield changed(Status.PAUSING, "r1");
          throw new ConnectError("restarting", Code.Unavailable);
        }
        if (tokens.length === 2) throw new ConnectError("still restarting", Code.Unavailable);
        yield changed(Status.PAUSED, "r2");
        await untilAborted(signal);
      },
    },
  });
  const { child, sees, finished } = start(["watch", "--server", server.url]);
  await sees(/PAUSED/);
  child.kill("SIGINT");
  const { code, stderr } = await finished;
  expect(code).toBe(0);
  expect(tokens).toEqual(["", "r1", "r1"]);
  expect(stderr).toBe(`mctl: lost ${server.url} (restarting); trying again\nmctl: the watch goes on\n`);
});

test("watch -o json prints one event a line, heartbeats too", async () => {
  await using server = await startFakeServer({
    missionControl: {
      watchWorkflows: async function* (_, { signal }) {
        yield { kind: Kind.HEARTBEAT, resumeToken: "r1" };
        yield changed(Status.PAUSED, "r2");
        await untilAborted(signal);
      },
    },
  });
  const { child, sees, finished } = start(["watch", "-o", "json", "--server", server.url]);
  await sees(/r2.*\n/);
  child.kill("SIGINT");
  const events = (await finished).stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events).toMatchObject([{ kind: "HEARTBEAT" }, { kind: "CHANGED", workflow: { status: "PAUSED" } }]);
});

test("a watch that is refused ends, and one that never reached the server gives up", async () => {
  let calls = 0;
  await using server = await startFakeServer({
    missionControl: {
      // biome-ignore lint/correctness/useYield: it is refused before the first event
      watchWorkflows: async function* () {
        calls++;
        throw failure(Code.Unauthenticated, "the token has expired", { reason: "TOKEN_EXPIRED" });
      },
    },
  });
  expect(await mctl(["watch", "--server", server.url])).toMatchObject({ code: 4, stdout: "" });
  expect(calls).toBe(1);
  await server[Symbol.asyncDispose]();
  expect(await mctl(["watch", "--server", server.url])).toMatchObject({ code: 6, stdout: "" });
});
