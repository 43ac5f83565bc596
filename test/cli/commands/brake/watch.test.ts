import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { WatchBrakeResponse_Kind as Kind, Brake_State as State } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { allStanding, brake, halting, requestMs } from "../../brake.ts";
import { failure } from "../../failures.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl, start } from "../../run.ts";

const eventTime = timestampFromMs(requestMs + 1_240);
const over = {
  kind: Kind.OVER,
  eventTime,
  brake: brake({
    state: State.EXPIRED,
    receipt: allStanding,
    release: { reason: "its time ran out", released: 12, remaining: 0 },
  }),
};

test("watch shows progress on stdout, warns before it expires, goes on after an outage, and ends when it is over", async () => {
  let calls = 0;
  await using server = await startFakeServer({
    brakes: {
      watchBrake: async function* ({ brakeId }) {
        expect(brakeId).toBe("br_1");
        if (calls++ === 0) {
          yield { kind: Kind.PROGRESS, eventTime, brake: brake({ receipt: halting }) };
          yield { kind: Kind.HEARTBEAT };
          throw new ConnectError("restarting", Code.Unavailable);
        }
        const expireTime = timestampFromMs(requestMs + 60_000);
        yield { kind: Kind.EXPIRES_SOON, eventTime, brake: brake({ receipt: allStanding, expireTime }) };
        yield over;
      },
    },
  });
  const { code, stdout, stderr } = await mctl(["brake", "watch", "br_1", "--server", server.url]);
  expect(code).toBe(0);
  expect(stderr.split("\n")).toEqual([
    `mctl: lost ${server.url} (restarting); trying again`,
    "mctl: the watch goes on",
    "mctl: br_1 releases by itself at 08:36:12Z",
    "",
  ]);
  expect(stdout).toMatch(/^ENGAGED {2}5\/12 standing, 6 halting, 1 pending, gates 1\/2, 1\.2s\n/);
  expect(stdout).toMatch(/^EXPIRED {2}12\/12 released, 0 remaining.*\n\nEXPIRED {2}br_1$/m);
  expect(stdout).toMatch(/^release +by itself: "its time ran out"\n +12 released, 0 remaining$/m);
});

test("Ctrl-C ends a watch with exit code 0", async () => {
  await using server = await startFakeServer({
    brakes: {
      watchBrake: async function* (_, { signal }) {
        yield { kind: Kind.PROGRESS, eventTime, brake: brake({ receipt: halting }) };
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      },
    },
  });
  const { child, sees, finished } = start(["brake", "watch", "br_1", "--server", server.url]);
  await sees(/5\/12/);
  child.kill("SIGINT");
  expect(await finished).toMatchObject({ code: 0, stderr: "" });
});

test("watch -o json prints one event a line, heartbeats too", async () => {
  await using server = await startFakeServer({
    brakes: {
      watchBrake: async function* () {
        yield { kind: Kind.HEARTBEAT, eventTime };
        yield over;
      },
    },
  });
  const { code, stdout, stderr } = await mctl(["brake", "watch", "br_1", "-o", "json", "--server", server.url]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events).toMatchObject([{ kind: "HEARTBEAT" }, { kind: "OVER", brake: { state: "EXPIRED" } }]);
});

test("a brake that is not there is exit code 3", async () => {
  await using server = await startFakeServer({
    brakes: {
      // biome-ignore lint/correctness/useYield: it is refused before the first event
      watchBrake: async function* () {
        throw failure(Code.NotFound, "there is no brake br_x", { reason: "BRAKE_NOT_FOUND" });
      },
    },
  });
  expect(await mctl(["brake", "watch", "br_x", "--server", server.url])).toMatchObject({ code: 3, stdout: "" });
});
