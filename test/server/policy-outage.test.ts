import { createServer } from "node:http2";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Access, PolicyPoint_Outcome as Outcome } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { nobody } from "../policy/remote/sockets.ts";

let engine: TestEngine;
let server: TestServer;
const lines: string[] = [];
beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(async () => {
  await server.stop();
  await engine.stop();
});

test("while K-OS is away nothing goes on but an emergency pause by an sre_admin, where that is configured; loudly", async () => {
  server = await startTestServer(engine.adminSocket, {
    log: pino({ level: "error" }, { write: (line: string) => void lines.push(line) }),
    policyRemotes: [
      {
        name: "kos",
        form: "grpc",
        url: new URL(await nobody(createServer())),
        whenUnreachable: [
          {
            actions: ["audit.list", "access.get", "policy.explain", "brakes.preview"],
            roles: ["sre_admin"],
            emergencyOnly: false,
          },
          { actions: ["runtime.pause", "runtime.brake"], roles: ["sre_admin"], emergencyOnly: true },
        ],
      },
    ],
  });
  const invocation = await engine.start("Awaiter/run");
  await engine.steps.untilAwakeable(invocation);
  const call = { workflowId: `restate:${invocation}`, reason: "it pays twice", wait: durationFromMs(15_000) };

  const refused = ConnectError.from(await server.control.pauseWorkflow(call).catch((error: unknown) => error));
  expect([refused.code, refused.rawMessage]).toEqual([
    Code.PermissionDenied,
    expect.stringMatching(/kos cannot be asked: .*; that is a no/),
  ]);
  const paused = await server.control.pauseWorkflow({ ...call, emergency: true });
  expect(paused.newStatus).toBe(Status.PAUSED);
  const bypassed = () =>
    lines
      .map((line) => JSON.parse(line) as { msg: string; action: string })
      .filter(({ msg }) => msg.startsWith("POLICY BYPASSED"))
      .map(({ action }) => action);
  expect(bypassed()).toEqual(["runtime.pause"]);
  // Whoever only asks whether they might goes on without nobody.
  const transport = createGrpcTransport({ baseUrl: server.url });
  const access = createClient(Access, transport);
  const headers = { authorization: `Bearer ${await server.token(["sre_admin", "auditor"])}` };
  const { workflowId } = call;
  const policy = {
    points: expect.arrayContaining([expect.objectContaining({ point: "kos", outcome: Outcome.BYPASSED })]),
  };
  const may = await access.getAccess({ workflowId, action: ["pause"], emergency: true }, { headers });
  expect(may.actions).toMatchObject([{ action: "runtime.pause", policy }]);
  const explained = await access.explainPolicy({ workflowId, action: "runtime.pause", emergency: true }, { headers });
  expect(explained.decision).toMatchObject(policy);
  const preview = await server.brakes.previewBrake({ selector: { types: ["Awaiter"] }, emergency: true });
  expect(preview.policyDenial).toBe("");
  expect(bypassed()).toEqual(["runtime.pause", "access.get", "policy.explain", "brakes.preview"]);
  const { entries } = await server.audit.listAuditEntries({ pageSize: 10, target: call.workflowId });
  const told = entries.map(({ phase, emergency, decision }) => [
    phase,
    emergency,
    decision?.allowed,
    decision?.bypassed,
  ]);
  expect(told).toContainEqual([Phase.DENIED, false, false, []]);
  expect(told).toContainEqual([Phase.INTENT, true, true, ["kos"]]);
});
