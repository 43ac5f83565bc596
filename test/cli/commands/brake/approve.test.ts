import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { ApproveBrakeRequest } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { brake } from "../../brake.ts";
import { failure } from "../../failures.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";

test("approve says that it holds now, by whom, and how to see it", async () => {
  const requests: ApproveBrakeRequest[] = [];
  const approval = { matched: 2_400, tolerance: 24, approvedBy: "bob" };
  await using server = await startFakeServer({
    brakes: {
      approveBrake: (request) => {
        requests.push(request);
        return { brake: brake({ approval }), auditEntryId: "ae_2" };
      },
    },
  });
  const args = ["brake", "approve", "br_1", "--server", server.url, "--reason", "seen it too"];
  const { code, stdout, stderr } = await mctl(args);
  expect(code).toBe(0);
  expect(requests).toMatchObject([{ brakeId: "br_1", reason: "seen it too" }]);
  expect(requests[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(stdout).toMatch(/^ENGAGED {2}br_1$/m);
  expect(stdout).toMatch(/^approval +by bob; asked for 2400 workflows, of which 24 may have come or gone$/m);
  expect(stderr).toBe("To see how they come to stand: mctl brake watch br_1\n");
  expect(JSON.parse((await mctl([...args, "-o", "json"])).stdout)).toMatchObject({ auditEntryId: "ae_2" });
});

test("who asked for it cannot approve it, and is told", async () => {
  await using server = await startFakeServer({
    brakes: {
      approveBrake: () => {
        throw failure(Code.PermissionDenied, "somebody else has to approve it", { reason: "SAME_PERSON" });
      },
    },
  });
  const { code, stderr } = await mctl(["brake", "approve", "br_1", "--server", server.url, "--reason", "mine"]);
  expect(code).toBe(4);
  expect(stderr).toContain("somebody else has to approve it (SAME_PERSON)");
});

test("without a reason nothing is asked, and an example is shown", async () => {
  const { code, stderr } = await mctl(["brake", "approve", "br_1"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/--reason is required.*\n {2}mctl brake approve br_1 --reason "/);
});
