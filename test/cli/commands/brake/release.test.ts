import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import {
  WatchBrakeResponse_Kind as Kind,
  type NotLetGoSchema,
  type Release,
  type ReleaseBrakeRequest,
  Brake_State as State,
} from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { allStanding, brake, requestMs } from "../../brake.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";

type Step = Pick<Release, "released" | "remaining"> & { haltedBecause?: string; watched?: boolean };

async function release(args: string[], steps: Step[] = [], notLetGo: MessageInitShape<typeof NotLetGoSchema>[] = []) {
  const requests: ReleaseBrakeRequest[] = [];
  const released = ({ watched, ...step }: Step) =>
    brake({
      state: step.haltedBecause || watched ? State.ENGAGED : State.RELEASED,
      receipt: allStanding,
      release: { releasedBy: "bob", reason: "fixed", staged: { percent: 25 }, ...step },
    });
  await using server = await startFakeServer({
    brakes: {
      releaseBrake: (request) => {
        requests.push(request);
        return {
          brake: released({ released: 0, remaining: 12 }),
          auditEntryId: "ae_2",
          stillHeld: [{ workflowId: "restate:inv_1", brakeIds: ["br_2", "br_9"] }],
          notLetGo,
        };
      },
      watchBrake: async function* (_, { signal }) {
        for (const step of steps) {
          yield { kind: Kind.PROGRESS, eventTime: timestampFromMs(requestMs), brake: released(step) };
        }
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      },
    },
  });
  return { ...(await mctl(["brake", "release", "br_1", "--server", server.url, ...args])), requests };
}

test("release answers at once, and names what other brakes still hold", async () => {
  const { code, stdout, stderr, requests } = await release(["--reason", "fixed"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(requests).toMatchObject([{ brakeId: "br_1", reason: "fixed", validateOnly: false }]);
  expect(requests[0]?.staged).toBeUndefined();
  expect(stdout).toMatch(/^RELEASED {2}br_1$/m);
  expect(stdout).toMatch(
    /^release +by bob: "fixed"\n +0 released, 12 remaining; in stages of 25%, at most 0 failures$/m,
  );
  expect(stdout).toMatch(/\nStill held by other brakes: 1\nWORKFLOW +HELD BY\nrestate:inv_1 {2}br_2, br_9\n$/);
});

test("release names what goes on only when its engine answers again", async () => {
  const outage = { engine: "restate-eu", since: timestampFromMs(requestMs), lastKnown: 3 };
  const { code, stdout } = await release(
    ["--reason", "fixed"],
    [],
    [{ outage, count: 3, workflowIds: ["restate-eu:inv_1", "restate-eu:inv_2"] }],
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /\nNot let go yet: 3 workflows\. restate-eu does not answer since 08:35:12Z; as soon as it does, they go on\.\n {2}restate-eu:inv_1\n {2}restate-eu:inv_2\n {2}…\n$/,
  );
});

test("stages reach the server, with 30 s and no failure by default", async () => {
  const { requests } = await release(["--reason", "fixed", "--staged", "10%"]);
  expect(requests[0]?.staged).toMatchObject({ percent: 10, maxFailures: 0 });
  expect(requests[0]?.staged?.watch && durationMs(requests[0].staged.watch)).toBe(30_000);
  const flags = ["--staged", "5", "--stage-watch", "1m", "--max-failures", "2", "--validate-only"];
  const more = await release(["--reason", "fixed", ...flags]);
  expect(more.requests[0]).toMatchObject({ staged: { percent: 5, maxFailures: 2 }, validateOnly: true });
  expect(more.requests[0]?.staged?.watch && durationMs(more.requests[0].staged.watch)).toBe(60_000);
  expect(more.stdout).toMatch(/^Nothing was done; it would be allowed\.\n/);
});

test("in stages --wait does not end before the last one was watched: it may be held again", async () => {
  const steps = [
    { released: 12, remaining: 0, watched: true },
    { released: 0, remaining: 12, haltedBecause: "1 of 12 failed" },
  ];
  const { code, stderr } = await release(["--reason", "fixed", "--staged", "25%", "--wait"], steps);
  expect(code).toBe(5);
  expect(stderr).toMatch(/^ENGAGED {2}12\/12 released, 0 remaining, stage 4 of 4\n/);
});

test("--wait shows how many were let go, in which stage, until all were", async () => {
  const steps = [
    { released: 3, remaining: 9 },
    { released: 12, remaining: 0 },
  ];
  const { code, stdout, stderr } = await release(["--reason", "fixed", "--wait"], steps);
  expect(code).toBe(0);
  expect(stderr).toBe(
    "RELEASED  3/12 released, 9 remaining, stage 1 of 4\nRELEASED  12/12 released, 0 remaining, stage 4 of 4\n",
  );
  expect(stdout).toContain("12 released, 0 remaining");
});

test("a release that held the rest again says so loudly, with exit code 5", async () => {
  const steps = [{ released: 3, remaining: 9, haltedBecause: "1 of 3 failed within 30s" }];
  const { code, stdout, stderr } = await release(["--reason", "fixed", "--wait"], steps);
  expect(code).toBe(5);
  expect(stdout).toContain("HELD AGAIN by itself: 1 of 3 failed within 30s");
  expect(stderr).toMatch(
    /^HELD AGAIN: 1 of 3 failed within 30s\nmctl: HELD AGAIN: 1 of 3 failed within 30s\n {2}9 workflows held as before\..*\n {2}mctl brake release br_1 --reason "…"\n$/m,
  );
});

test("a wait that ends before all were let go is exit code 7", async () => {
  const { code, stdout, stderr } = await release(
    ["--reason", "fixed", "--wait", "300ms", "-o", "json"],
    [{ released: 3, remaining: 9 }],
  );
  expect(code).toBe(7);
  expect(JSON.parse(stdout)).toMatchObject({ auditEntryId: "ae_2", brake: { release: { released: 3 } } });
  expect(JSON.parse(stderr).message).toMatch(/^3 of 12 workflows were let go within 300ms; the release goes on\./);
});

test.each([
  [[], /--reason is required.*\n {2}mctl brake release br_1 --reason "fixed/],
  [["--reason", "x", "--max-failures", "0"], /go with --staged/],
  [["--reason", "x", "--staged", "101%"], /must be 1% to 100%/],
  [["--reason", "x", "--wait", "2h"], /--wait must be 1h or less/],
])("%j is refused here", async (args, message) => {
  const { code, stderr, requests } = await release(args);
  expect({ code, requests }).toEqual({ code: 2, requests: [] });
  expect(stderr).toMatch(message);
});
