import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { expect, test } from "vitest";
import {
  type Brakes,
  type EngageBrakeRequest,
  type FleetReceiptSchema,
  WatchBrakeResponse_Kind as Kind,
  Brake_State as State,
} from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { allStanding, brake, halting, requestMs } from "../../brake.ts";
import { onTerminal } from "../../console.ts";
import { failure } from "../../failures.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl, start } from "../../run.ts";

const engage = ["brake", "engage", "--type", "RefundAgent", "--reason", "pays twice, INC-42"];

const progress = (receipt: MessageInitShape<typeof FleetReceiptSchema>, state: State = State.ENGAGED) => ({
  kind: Kind.PROGRESS,
  brake: brake({ receipt, state }),
  eventTime: timestampFromMs(requestMs + 1_240),
});

/** A server where a brake comes to stand, but for what is overridden; its requests to engage. */
async function serve(rpcs: Partial<ServiceImpl<typeof Brakes>> = {}) {
  const requests: EngageBrakeRequest[] = [];
  const server = await startFakeServer({
    brakes: {
      engageBrake: (request) => {
        requests.push(request);
        return { brake: brake({ receipt: { ...halting, standing: 0 } }), auditEntryId: "ae_1" };
      },
      watchBrake: async function* () {
        yield progress(halting);
        yield progress(allStanding);
      },
      previewBrake: () => ({ matched: 12, needsApproval: false, blastRadius: 100 }),
      ...rpcs,
    },
  });
  return { server, requests };
}

async function run(args: string[], rpcs: Partial<ServiceImpl<typeof Brakes>> = {}) {
  const { server, requests } = await serve(rpcs);
  await using _ = server;
  return { ...(await mctl([...engage, "--server", server.url, ...args])), requests };
}

test("piped, it engages without asking, tells how they come to stand, and ends with the receipt in words", async () => {
  const { code, stdout, stderr, requests } = await run([]);
  expect(code).toBe(0);
  expect(requests).toMatchObject([{ reason: "pays twice, INC-42", emergency: false, excludeDescendants: false }]);
  expect(requests[0]?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(stderr).toBe(
    "ENGAGED  5/12 standing, 6 halting, 1 pending, gates 1/2, 1.2s\nENGAGED  12/12 standing, 0 halting, 0 pending, 1.2s\n",
  );
  const lines = stdout.split("\n");
  expect(lines.slice(0, 3)).toEqual([
    "ENGAGED  br_1",
    "holds    type RefundAgent, label risk=high, and their descendants",
    'reason   "pays twice, INC-42"',
  ]);
  expect(lines.slice(lines.indexOf("Halt receipt") + 1)).toEqual([
    "requested     08:35:12.400Z the brake was durably engaged",
    "matched       12: 12 standing",
    "              caught 2 as descendants, 1 after it was engaged",
    "accepted      p50 12ms, p99 80ms",
    "standstill    p50 340ms, p99 700ms, max 740ms",
    "all standing  08:35:13.140Z (+740ms) all that were there when it was engaged",
    "in flight     5 steps when they were caught; 4 finished, results kept",
    "on resume     1 step RUN AGAIN",
    "steps after   0 started after the engine accepted",
    "",
  ]);
});

test("an engine that is not reached is told, loudly and with the receipt, and all are not said to stand", async () => {
  const unreachableEngines = [{ engine: "restate-eu", since: timestampFromMs(requestMs), lastKnown: 41 }];
  const receipt = { ...halting, unreachableEngines };
  const { code, stdout, stderr } = await run(["--no-wait"], {
    engageBrake: () => ({ brake: brake({ receipt }), auditEntryId: "ae_1" }),
  });
  expect(code).toBe(0);
  const told = "restate-eu unreachable since 08:35:12Z; 41 last known to match";
  expect(stderr).toContain(`mctl: ${told}; it goes on being tried\n`);
  expect(stdout).toContain(`NOT REACHED   ${told}\n`);
  expect(stdout).toContain("all standing  NOT YET SEEN\n");
});

test("every flag reaches the server", async () => {
  const seen: EngageBrakeRequest[] = [];
  const requestId = "6b1f0b0e-6c1e-4c0e-9d6c-0a6c7c1c2d3e";
  const flags = ["--ticket", "INC-42", "--emergency", "--expires-in", "1h30m", "--gate-wait", "2s"];
  const more = ["--expect-set", "a3f1", "--request-id", requestId, "--no-descendants", "--validate-only"];
  const { code, stdout } = await run([...flags, ...more], {
    engageBrake: (request) => {
      seen.push(request);
      return { brake: brake({ brakeId: "" }), preview: { matched: 12 } };
    },
  });
  expect(code).toBe(0);
  expect(seen[0]).toMatchObject({
    ...{ ticket: "INC-42", emergency: true, expectedSetHash: "a3f1", requestId },
    ...{ excludeDescendants: true, validateOnly: true },
  });
  expect(seen[0]?.expiresIn && durationMs(seen[0].expiresIn)).toBe(5_400_000);
  expect(seen[0]?.gateWait && durationMs(seen[0].gateWait)).toBe(2_000);
  expect(stdout).toMatch(/^Nothing was done; it would be allowed\.\nWould hold 12 workflows now/);
});

test("not all standing in time is exit code 7: it says how many, that the brake stands, and which gates are silent", async () => {
  const { code, stdout, stderr } = await run(["--wait", "300ms"], {
    watchBrake: async function* (_, { signal }) {
      yield progress(halting);
      await untilAborted(signal);
    },
  });
  expect(code).toBe(7);
  expect(stdout).toMatch(/^gates +1 of 2 confirmed that they hold\n +NO ANSWER from refunds-2$/m);
  expect(stdout).toMatch(/^all standing +NOT YET SEEN$/m);
  expect(stderr).toContain("mctl: no answer from these gates: refunds-2\n");
  expect(stderr).toMatch(
    /mctl: 5 of 12 workflows were seen to stand still within 300ms \(6 halting, 1 pending\); the brake stands and keeps holding\. Look again: mctl brake get br_1\n$/,
  );
});

test("with -o json stdout is one object with the last known brake, and there is no progress", async () => {
  const { code, stdout, stderr } = await run(["-o", "json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ auditEntryId: "ae_1", brake: { receipt: { standing: 12 } } });
});

test("--no-wait does not look at all", async () => {
  const { code, stdout, stderr } = await run(["--no-wait"], {
    // biome-ignore lint/correctness/useYield: it is never called
    watchBrake: async function* () {
      throw new ConnectError("not asked for", Code.Internal);
    },
  });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ENGAGED {2}br_1$/m);
  expect(stderr).toBe("mctl: no answer from these gates: refunds-2\n");
});

test("awaiting approval is exit code 8 with the line for the second person", async () => {
  const engageBrake = () => ({
    brake: brake({ state: State.AWAITING_APPROVAL, approval: { matched: 2_400, tolerance: 24 } }),
  });
  const { code, stdout, stderr } = await run([], { engageBrake });
  expect(code).toBe(8);
  expect(stdout).toMatch(/^AWAITING_APPROVAL {2}br_1$/m);
  expect(stdout).not.toContain("Halt receipt");
  expect(stderr).toBe(
    "mctl: br_1 holds nothing yet: for 2400 workflows a second person has to approve it:\n" +
      '  mctl brake approve br_1 --reason "…"\n',
  );
  const json = await run(["-o", "json"], { engageBrake });
  expect(json.code).toBe(8);
  expect(JSON.parse(json.stdout)).toMatchObject({ brake: { state: "AWAITING_APPROVAL" } });
  expect(JSON.parse(json.stderr)).toMatchObject({ code: 9 });
});

test("an emergency holds, and says by when who has to approve it", async () => {
  const approval = { matched: 2_400, approveBy: timestampFromMs(requestMs + 900_000) };
  const { code, stderr } = await run(["--emergency", "--no-wait"], {
    engageBrake: () => ({ brake: brake({ emergency: true, approval, receipt: allStanding }) }),
  });
  expect(code).toBe(0);
  expect(stderr).toBe(
    "mctl: a second person has to approve this emergency by 08:50:12Z, or it is released:\n" +
      '  mctl brake approve br_1 --reason "…"\n',
  );
});

test("a brake that was released while it was waited for is exit code 5", async () => {
  const { code, stderr } = await run([], {
    watchBrake: async function* () {
      yield { ...progress(halting, State.RELEASED), kind: Kind.OVER };
    },
  });
  expect(code).toBe(5);
  expect(stderr).toMatch(/mctl: br_1 holds no longer: it was released meanwhile\n$/);
});

test("a refusal to show progress does not hide that the brake stands", async () => {
  const { code, stdout, stderr } = await run([], {
    // biome-ignore lint/correctness/useYield: it is refused before the first event
    watchBrake: async function* () {
      throw failure(Code.PermissionDenied, "your roles do not read brakes", { reason: "ROLE_DENIED" });
    },
  });
  expect(code).toBe(4);
  expect(stdout).toMatch(/^ENGAGED {2}br_1$/m);
  expect(stderr).toContain("your roles do not read brakes (ROLE_DENIED)");
});

test("the wait goes on across an outage", async () => {
  let calls = 0;
  const { code, stderr } = await run([], {
    watchBrake: async function* () {
      if (calls++ === 0) throw new ConnectError("restarting", Code.Unavailable);
      yield progress(allStanding);
    },
  });
  expect({ code, calls }).toEqual({ code: 0, calls: 2 });
  expect(stderr).toMatch(/^mctl: lost .* \(restarting\); trying again\nmctl: the watch goes on\nENGAGED {2}12\/12/);
});

test("Ctrl-C ends the wait with exit code 130, and the brake's id is told", async () => {
  const { server } = await serve({
    watchBrake: async function* (_, { signal }) {
      yield progress(halting);
      await untilAborted(signal);
    },
  });
  await using _ = server;
  const { child, finished } = start([...engage, "--server", server.url]);
  await new Promise((resolve) => child.stderr?.once("data", resolve));
  child.kill("SIGINT");
  const { code, stdout, stderr } = await finished;
  expect(code).toBe(130);
  expect(stdout).toMatch(/^ENGAGED {2}br_1$/m);
  expect(stderr).toMatch(/mctl: the wait was interrupted; the brake stands and keeps holding\. .* br_1\n$/);
});

test("where it is not known whether it was engaged, the line to ask again safely is told", async () => {
  const { code, stderr } = await run([], {
    engageBrake: () => {
      throw new ConnectError("lost", Code.Internal);
    },
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/without doing it twice: --request-id [0-9a-f-]{36}\n$/);
});

test.each([
  [["--wait", "2h"], /--wait must be 1h or less/],
  [["--gate-wait", "2m"], /--gate-wait must be 60s or less/],
  [["--expect-set", ""], /must not be empty/],
  [["--reason", "…"], /--reason is required/],
])("%j is refused here", async (args, message) => {
  const { code, stderr, requests } = await run(args);
  expect({ code, requests }).toEqual({ code: 2, requests: [] });
  expect(stderr).toMatch(message);
});

async function onScreen(
  typed: string | undefined,
  args: string[] = [],
  rpcs: Partial<ServiceImpl<typeof Brakes>> = {},
) {
  const { server, requests } = await serve(rpcs);
  await using _ = server;
  return { ...(await onTerminal([...engage, "--server", server.url, ...args], typed)), requests };
}

test("on a terminal it asks with the count, and yes engages with a bar", async () => {
  const { code, stdout, stderr, requests } = await onScreen("y\n");
  expect({ code, asked: requests.length }).toEqual({ code: 0, asked: 1 });
  expect(requests[0]?.expectedSetHash).toBe("");
  expect(stderr).toMatch(/^This holds 12 workflows now, and what matches later, until it is released\.$/m);
  expect(stderr).toMatch(/Engage it\? \[y\/N\] \r█+░+ {2}5\/12 standing/);
  expect(stderr).toMatch(/\r█+ {2}12\/12 standing .*\n$/);
  expect(stdout).toMatch(/^ENGAGED {2}br_1$/m);
});

test("where a second person has to approve it, the question says so, and for an emergency that it holds before", async () => {
  const rpcs = { previewBrake: () => ({ matched: 12, needsApproval: true, blastRadius: 5 }) };
  const { stderr } = await onScreen("n\n", [], rpcs);
  expect(stderr).toMatch(/^This would hold 12 workflows now, and nothing before a second person has approved it\.$/m);
  expect(stderr).toMatch(/^approval +NEEDED from a second person \(your limit: 5 workflows\)$/m);
  const emergency = await onScreen("n\n", ["--emergency"], rpcs);
  expect(emergency.stderr).toMatch(/^This holds 12 workflows now/m);
  expect(emergency.stderr).toMatch(/^approval +NEEDED from a second person AFTERWARDS/m);
});

test.each([["n\n"], ["\n"], [undefined], ["yesterday\n"]])("the answer %j does nothing", async (typed) => {
  const { code, stdout, stderr, requests } = await onScreen(typed);
  expect({ code, stdout, requests }).toEqual({ code: 1, stdout: "", requests: [] });
  expect(stderr).toMatch(/mctl: nothing was done\n$/);
});

test("--yes does not ask, and --validate-only has nothing to ask", async () => {
  for (const flag of ["--yes", "--validate-only"]) {
    const { code, stderr, requests } = await onScreen(undefined, [flag]);
    expect({ code, asked: requests.length }).toEqual({ code: 0, asked: 1 });
    expect(stderr).not.toContain("Engage it?");
  }
});

test("what cannot be previewed is not engaged unasked, and it says how to do it all the same", async () => {
  const { code, stderr, requests } = await onScreen("y\n", [], {
    previewBrake: () => {
      throw failure(Code.FailedPrecondition, "the engine does not list", { reason: "ENGINE_UNAVAILABLE" });
    },
  });
  expect({ code, requests }).toEqual({ code: 5, requests: [] });
  expect(stderr).toMatch(
    /^mctl: it could not be previewed; --yes engages it without\.\nmctl: the engine does not list/,
  );
});

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
