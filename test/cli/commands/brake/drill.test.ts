import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { DrillBrakeRequest, DrillSchema } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { failure } from "../../failures.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";

const ms = (value: number) => ({ seconds: BigInt(Math.floor(value / 1_000)), nanos: (value % 1_000) * 1_000_000 });
const good = {
  ok: true,
  message: "it stood",
  engine: "restate",
  workflowId: "restate:inv_1",
  brakeId: "br_1",
  startToRunning: ms(80),
  requestToAccept: ms(12),
  requestToStandstill: ms(143),
  releaseToMoving: ms(1_260),
  stepsStartedAfterAccept: 1,
  gates: 2,
  gatesConfirmed: 2,
} satisfies MessageInitShape<typeof DrillSchema>;

async function drilled(drill: MessageInitShape<typeof DrillSchema>, ...args: string[]) {
  const requests: DrillBrakeRequest[] = [];
  await using server = await startFakeServer({
    brakes: {
      drillBrake: (request) => {
        requests.push(request);
        return { drill, auditEntryId: "ae_7" };
      },
    },
  });
  const finished = await mctl(["brake", "drill", "--server", server.url, "--reason", "weekly", ...args]);
  return { ...finished, requests };
}

test("drill tells the figures in words, and exits with 0 where it stood and moved in time", async () => {
  const { code, stdout, stderr, requests } = await drilled(good, "--wait", "5s", "--engine", "restate");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(requests).toMatchObject([{ reason: "weekly", engine: "restate", wait: { seconds: 5n } }]);
  expect(stdout).toMatch(/^HOLDS {2}the brake on restate$/m);
  expect(stdout).toMatch(/^running +80ms after it was asked for$/m);
  expect(stdout).toMatch(/^accepted +12ms after the request, by the engine$/m);
  expect(stdout).toMatch(/^standstill +143ms after the request$/m);
  expect(stdout).toMatch(/^steps after +1 started after the engine accepted$/m);
  expect(stdout).toMatch(/^gates +2 of 2 confirmed that they hold$/m);
  expect(stdout).toMatch(/^moving again +1\.3s after the release$/m);
  expect(stdout).toMatch(/^ledger +ae_7$/m);
});

test("as JSON it is the answer", async () => {
  const { code, stdout } = await drilled(good, "-o", "json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    drill: { ok: true, requestToStandstill: "0.143s" },
    auditEntryId: "ae_7",
  });
});

test("where the canary was not seen to stand, it exits with 7 and says so", async () => {
  const { requestToStandstill: _, releaseToMoving: __, ...rest } = good;
  const message = "the canary was not seen to stand within 10000 ms";
  const { code, stdout, stderr } = await drilled({ ...rest, ok: false, message });
  expect(code).toBe(7);
  expect(stdout).toMatch(/^FAILED {2}the brake on restate$/m);
  expect(stdout).toMatch(/^standstill +NOT SEEN$/m);
  expect(stderr).toContain(`the drill failed: ${message}`);
});

test("where it stood but did not move again, or never began, it exits with 1", async () => {
  const { releaseToMoving: _, ...rest } = good;
  const stuck = await drilled({ ...rest, ok: false, message: "the canary was not seen to move again" });
  expect(stuck).toMatchObject({ code: 1 });
  expect(stuck.stdout).toMatch(/^moving again +NOT SEEN$/m);
  const none = await drilled(
    { ok: false, engine: "restate", message: "the canary could not be started" },
    "-o",
    "json",
  );
  expect(none).toMatchObject({ code: 1 });
  expect(none.stderr).toContain("could not be started");
});

test("a server without a canary is told about, and a missing reason or a wait out of bounds is a usage error", async () => {
  await using server = await startFakeServer({
    brakes: {
      drillBrake: () => {
        throw failure(Code.FailedPrecondition, "there is no engine with a canary", { reason: "NO_CANARY" });
      },
    },
  });
  const refused = await mctl(["brake", "drill", "--server", server.url, "--reason", "weekly"]);
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain("there is no engine with a canary (NO_CANARY)");
  const bare = await mctl(["brake", "drill"]);
  expect(bare.code).toBe(2);
  expect(bare.stderr).toMatch(/--reason is required.*\n {2}mctl brake drill --reason "/);
  const long = await mctl(["brake", "drill", "--reason", "weekly", "--wait", "61s"]);
  expect(long).toMatchObject({ code: 2, stderr: expect.stringContaining("--wait must be 1s to 60s") });
});
