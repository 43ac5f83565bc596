import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { failure } from "./failures.ts";
import { startFakeServer } from "./fake-server.ts";
import { mctl } from "./run.ts";

async function failing(error: ConnectError, args: string[] = ["get", "restate:inv_1"]) {
  await using server = await startFakeServer({
    missionControl: {
      getWorkflow: () => {
        throw error;
      },
    },
  });
  return await mctl([...args, "--server", server.url]);
}

test("a denial is one sentence with its reason, its policies by name and the call's id", async () => {
  const denied = failure(Code.PermissionDenied, "refunds are frozen after 22:00", {
    reason: "POLICY_DENIED",
    metadata: { policy_ids: "night-freeze, default" },
  });
  const { code, stdout, stderr } = await failing(denied);
  expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
  expect(stderr.split("\n")).toEqual([
    "mctl: refunds are frozen after 22:00 (POLICY_DENIED)",
    "  policy ids: night-freeze, default",
    "  call id: call-7",
    "",
  ]);
});

test("with -o json a failure is google.rpc.Status on stderr", async () => {
  const held = failure(Code.FailedPrecondition, "still held", {
    reason: "HELD_BY_OTHER_BRAKES",
    metadata: { brake_ids: "br_2" },
  });
  const { code, stdout, stderr } = await failing(held, ["get", "x", "-o", "json"]);
  expect({ code, stdout }).toEqual({ code: 5, stdout: "" });
  expect(JSON.parse(stderr)).toEqual({
    code: 9,
    message: "still held",
    details: [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "HELD_BY_OTHER_BRAKES",
        domain: "missioncontrol",
        metadata: { brake_ids: "br_2" },
      },
    ],
  });
});

test("the brakes that still hold a workflow come with the lines to type about them", async () => {
  const held = failure(Code.FailedPrecondition, "other brakes still hold it", {
    reason: "HELD_BY_OTHER_BRAKES",
    metadata: { brake_ids: "br_2, br_3;reboot" },
  });
  const { code, stderr } = await failing(held);
  expect(code).toBe(5);
  expect(stderr.split("\n").slice(3)).toEqual([
    "  To look at what holds it, and to let it go for all that it holds:",
    "    mctl brake get br_2",
    '    mctl brake release br_2 --reason "…"',
    "    mctl brake get 'br_3;reboot'",
    "    mctl brake release 'br_3;reboot' --reason \"…\"",
    "",
  ]);
});

test("wrong fields are named", async () => {
  const { code, stderr } = await failing(
    failure(Code.InvalidArgument, "1 field is wrong", {
      reason: "INVALID_ARGUMENT",
      violations: [{ field: "workflow_id", description: "at most 512 characters" }],
    }),
  );
  expect(code).toBe(2);
  expect(stderr).toContain("  workflow_id: at most 512 characters\n");
});

test.each([
  [Code.NotFound, 3],
  [Code.Unauthenticated, 4],
  [Code.Aborted, 5],
  [Code.Internal, 1],
])("gRPC code %i ends with exit code %i", async (code, exit) => {
  expect((await failing(failure(code, "no", { reason: "X" }))).code).toBe(exit);
});

test("what a server says cannot drive the terminal", async () => {
  const evil = new ConnectError("gone \u001b[2J\u001b]0;owned\u0007 \u202eabc\r\nmctl: all is well", Code.NotFound);
  const { stderr } = await failing(evil);
  expect(stderr).toBe("mctl: gone   abc mctl: all is well (NOT_FOUND)\n");
});

test("where nobody listens, it says where it looked and what to do, with exit code 6", async () => {
  const { url } = await startFakeServer({}).then(async (server) => {
    await server[Symbol.asyncDispose]();
    return server;
  });
  const { code, stderr } = await mctl(["health", "--server", url]);
  expect(code).toBe(6);
  expect(stderr).toContain(`cannot reach ${url}: connect ECONNREFUSED`);
  expect(stderr).toContain("npm start");
});

test("an answer that does not come in time ends with exit code 6", async () => {
  await using server = await startFakeServer({
    missionControl: { getHealth: () => new Promise(() => {}) },
  });
  const { code, stderr } = await mctl(["health", "--server", server.url, "--timeout", "300ms"]);
  expect(code).toBe(6);
  expect(stderr).toMatch(/no answer from .* in time/);
});
