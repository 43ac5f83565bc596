import { expect, test } from "vitest";
import { ComponentHealth_Status as Health } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";

test.each([
  [Health.HEALTHY, 0],
  [Health.DEGRADED, 1],
  [Health.UNHEALTHY, 1],
])("status %i ends with exit code %i", async (status, exit) => {
  const components = [{ name: "ledger", status, message: "the disk is nearly full" }];
  await using server = await startFakeServer({
    missionControl: {
      getHealth: () => ({
        status,
        version: "1.2.3",
        components,
        activeWorkflows: 4,
        pausedWorkflows: 2,
        devMode: true,
      }),
    },
  });
  const { code, stdout } = await mctl(["health", "--server", server.url]);
  expect(code).toBe(exit);
  expect(stdout).toMatch(/mission-control 1\.2\.3, dev mode\nworkflows: 4 active, 2 paused/);
  expect(stdout).toMatch(/^ledger +[A-Z]+ +- +the disk is nearly full$/m);
});
