import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { failure } from "./failures.ts";
import { startFakeServer } from "./fake-server.ts";
import { mctl } from "./run.ts";

const pause = ["pause", "restate:inv_1", "--reason", "pays twice", "--wait", "5s"];

test("a pause that meets an outage is asked for again, with the same request_id", async () => {
  const seen: string[] = [];
  await using server = await startFakeServer({
    missionControl: {
      pauseWorkflow: ({ requestId, workflowId }) => {
        seen.push(requestId);
        if (seen.length < 3) throw new ConnectError("restarting", Code.Unavailable);
        return { workflowId, newStatus: 4 };
      },
    },
  });
  const { code } = await mctl([...pause, "--server", server.url]);
  expect(code).toBe(0);
  expect(seen).toHaveLength(3);
  expect(new Set(seen).size).toBe(1);
  expect(seen[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
});

test("after four attempts it gives up, and says how to ask again without doing it twice", async () => {
  const seen: string[] = [];
  await using server = await startFakeServer({
    missionControl: {
      pauseWorkflow: ({ requestId }) => {
        seen.push(requestId);
        throw failure(Code.Unavailable, "the ledger cannot be written", { reason: "LEDGER_UNAVAILABLE" });
      },
    },
  });
  const { code, stderr } = await mctl([...pause, "--server", server.url]);
  expect(code).toBe(6);
  expect(seen).toHaveLength(4);
  expect(stderr).toContain("the ledger cannot be written (LEDGER_UNAVAILABLE)");
  expect(stderr).toContain(
    `It may have been done all the same. To ask again without doing it twice: --request-id ${seen[0]}`,
  );
});

test("a refusal is not asked for again", async () => {
  let calls = 0;
  await using server = await startFakeServer({
    missionControl: {
      pauseWorkflow: () => {
        calls++;
        throw failure(Code.FailedPrecondition, "it has ended", { reason: "WORKFLOW_ENDED" });
      },
    },
  });
  const { code, stderr } = await mctl([...pause, "--server", server.url]);
  expect({ code, calls }).toEqual({ code: 5, calls: 1 });
  expect(stderr).not.toContain("--request-id");
});

test("the deadline leaves room for the wait", async () => {
  let deadline = 0;
  await using server = await startFakeServer({
    missionControl: {
      pauseWorkflow: ({ workflowId }, context) => {
        deadline = context.timeoutMs() ?? 0;
        return { workflowId, newStatus: 4 };
      },
    },
  });
  await mctl([...pause, "--timeout", "3s", "--server", server.url]);
  expect(deadline).toBeGreaterThan(5_000);
  expect(deadline).toBeLessThanOrEqual(8_000);
});
