import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { type Brakes, Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { createTestIssuer, type TestIssuer } from "../fixture/issuer.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";

const dir = mkdtempSync(join(tmpdir(), "mc-approval-"));
let engine: TestEngine;
let server: TestServer;
let elsewhere: TestIssuer;
let sam: Client<typeof Brakes>;
beforeAll(async () => {
  engine = await startTestEngine();
  elsewhere = await createTestIssuer(dir);
  const { issuer, audience, jwksFile } = elsewhere;
  server = await startTestServer(engine.adminSocket, {
    blastRadius: { sre: 1, sre_admin: 100 },
    driftTolerance: { count: 1, percent: 50 },
    approveWithinMs: 4_000,
    otherIssuers: [
      {
        issuer,
        audiences: [audience],
        jwks: { file: jwksFile },
        claims: { kind: { claim: ["kind"], machine: ["bot"] } },
      },
    ],
  });
  sam = await server.brakesAs("sam", "sre");
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
  rmSync(dir, { recursive: true });
});

/** So many that are open, and a selector of their own: the first works, the others wait for their turn. */
async function queue(key: string, count: number) {
  const more = (n: number) =>
    Promise.all(Array.from({ length: n }, () => engine.start(`Queue/${key}/work`, { count: 100, ms: 500 })));
  const end = (id: string) => engine.admin("PATCH", `/invocations/${id}/kill`);
  return { ids: await more(count), selector: { labels: [`key=${key}`] }, more, end };
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  const error = ConnectError.from(await call.then(() => new Error("it succeeded")).catch((failure) => failure));
  return `${Code[error.code]} ${error.findDetails(ErrorInfoSchema)[0]?.reason}`;
}

const approve = (brakeId: string, as = server.brakes) => as.approveBrake({ brakeId, reason: "seen it too" });

test("what is asked for waits over a restart, and holds nothing; within the tolerance it is approved as it is by then", async () => {
  const { ids, selector, more } = await queue("within", 4);
  const { setHash } = await server.brakes.previewBrake({ selector });
  const { brake } = await sam.engageBrake({ selector, reason: "test" });
  expect(brake).toMatchObject({ state: State.AWAITING_APPROVAL, approval: { matched: 4, setHash, tolerance: 2 } });
  await more(2);
  await server.restart();
  expect(await engine.status(ids[0] ?? "")).not.toBe("paused");
  const approved = await approve(brake?.brakeId ?? "");
  expect(approved.brake).toMatchObject({ state: State.ENGAGED, approval: { approvedBy: "alice" } });
  expect(approved.brake?.receipt).toMatchObject({ matched: 6, caughtLater: 0 });
  expect(await reasonOf(approve(brake?.brakeId ?? ""))).toBe("FailedPrecondition BRAKE_NOT_AWAITING");
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test" });
});

test("beyond the tolerance it is refused, whether more came, or as many went as came; it goes on waiting for what it was asked for", async () => {
  const { ids, selector, more, end } = await queue("beyond", 4);
  const { brake } = await sam.engageBrake({ selector, reason: "test" });
  const brakeId = brake?.brakeId ?? "";
  const [one = "", two = "", three = ""] = await more(3);
  await server.restart();
  expect(await reasonOf(approve(brakeId))).toBe("FailedPrecondition SET_CHANGED");
  // Four again, but two of them others.
  for (const id of [one, ids[3] ?? "", ids[2] ?? ""]) await end(id);
  await expect.poll(async () => (await server.brakes.previewBrake({ selector })).matched).toBe(4);
  expect(await reasonOf(approve(brakeId))).toBe("FailedPrecondition SET_CHANGED");
  expect((await server.brakes.getBrake({ brakeId })).brake).toMatchObject({ state: State.AWAITING_APPROVAL });
  expect(await engine.status(ids[0] ?? "")).not.toBe("paused");
  for (const id of [two, three]) await end(id);
  await expect.poll(async () => (await server.brakes.previewBrake({ selector })).matched).toBe(2);
  expect((await approve(brakeId)).brake).toMatchObject({ state: State.ENGAGED, receipt: { matched: 2 } });
  await server.brakes.releaseBrake({ brakeId, reason: "test" });
});

test("who asked for it does not approve it, under whatever role or issuer; neither does a machine", async () => {
  const { selector } = await queue("same", 2);
  const { brake } = await sam.engageBrake({ selector, reason: "test" });
  const fire = await sam.engageBrake({ selector, reason: "fire", emergency: true });
  const by = async (subject: string, kind = "person") =>
    server.brakesWith(await elsewhere.token({ subject, roles: ["sre_admin"], claims: { kind } }));
  for (const brakeId of [brake?.brakeId ?? "", fire.brake?.brakeId ?? ""]) {
    for (const again of [await server.brakesAs("sam", "sre_admin"), await by("sam")]) {
      expect(await reasonOf(approve(brakeId, again))).toBe("PermissionDenied APPROVER_IS_REQUESTER");
    }
    expect(await reasonOf(approve(brakeId, await by("kim", "bot")))).toBe("PermissionDenied POLICY_DENIED");
    expect((await approve(brakeId, await by("kim"))).brake?.approval).toMatchObject({ approvedBy: "kim" });
    await server.brakes.releaseBrake({ brakeId, reason: "test" });
  }
});

test("an emergency that nobody approves in time is released by itself, over a restart too, and says so; an approved one stays", async () => {
  const { selector } = await queue("emergency", 2);
  const seen = await sam.engageBrake({ selector, reason: "fire", emergency: true });
  await approve(seen.brake?.brakeId ?? "");
  const { brake } = await sam.engageBrake({ selector, reason: "fire", emergency: true });
  const brakeId = brake?.brakeId ?? "";
  expect(brake).toMatchObject({ state: State.ENGAGED, approval: { approvedBy: "" } });
  const { approveBy } = brake?.approval ?? {};
  await server.restart();
  for await (const { brake: now } of server.brakes.watchBrake({ brakeId }, { timeoutMs: 20_000 })) {
    if (now?.state === State.RELEASED) break;
  }
  const { brake: over } = await server.brakes.getBrake({ brakeId });
  expect(over?.release).toMatchObject({ releasedBy: "", reason: "an emergency that nobody approved in time" });
  expect(timestampMs(over?.release?.releaseTime ?? never)).toBeGreaterThanOrEqual(timestampMs(approveBy ?? never));
  const { entries } = await server.audit.listAuditEntries({ action: ["brake.unapproved"] });
  expect(entries).toMatchObject([{ brakeId, emergency: true }]);
  expect((await server.brakes.getBrake({ brakeId: seen.brake?.brakeId ?? "" })).brake?.state).toBe(State.ENGAGED);
  expect(await reasonOf(approve(brakeId))).toBe("FailedPrecondition BRAKE_NOT_ENGAGED");
  await server.brakes.releaseBrake({ brakeId: seen.brake?.brakeId ?? "", reason: "test" });
});

const never = { $typeName: "google.protobuf.Timestamp", seconds: 0n, nanos: 0 } as const;
