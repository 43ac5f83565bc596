import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  Access,
  ActionAccess_Answer as Answer,
  PolicyPoint_Outcome as Outcome,
} from "../../gen/missioncontrol/v1/access_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { mctl } from "../cli/run.ts";
import { call, doorOf, doorsOf } from "../fixture/protocols.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { startTestServer, type TestServer } from "../fixture/server.ts";
import { toldOf } from "../server/ledger.ts";

let engine: TestEngine;
let server: TestServer;
/** One of type SuspendedAwaiter, one of Reserved (whose resume is for sre_admin), one beyond the scope of "scoped". */
let workflowId: string;
let reserved: string;
let beyond: string;

beforeAll(async () => {
  engine = await startTestEngine();
  server = await startTestServer(engine.adminSocket, {
    roles: {
      ...defaultRoles,
      scoped: {
        permissions: defaultRoles.sre?.permissions ?? [],
        scope: { types: ["SuspendedAwaiter", "Reserved"] },
      },
      looker: { permissions: ["workflows.read", "access.read"] },
    },
  });
  const start = async (target: string, input: unknown = {}) => `restate:${await engine.start(target, input)}`;
  workflowId = await start("SuspendedAwaiter/run");
  reserved = await start("Reserved/run", { count: 10_000, ms: 200 });
  beyond = await start("Sleeper/run", { ms: 600_000 });
});
afterAll(async () => {
  await server?.stop();
  await engine?.stop();
});

async function ask(
  roles: string[],
  request: Parameters<ReturnType<typeof clientOf>["getAccess"]>[0],
  subject?: string,
) {
  const { actions, ...who } = await clientOf(await server.token(roles, subject)).getAccess(request);
  return { ...who, actions, of: (action: string) => actions.find((one) => one.action === action) };
}
function clientOf(token: string, service: typeof Access = Access) {
  const transport = createGrpcTransport({ baseUrl: server.url });
  const client = createClient(service, transport);
  const headers = { authorization: `Bearer ${token}` };
  return {
    getAccess: (request: Parameters<typeof client.getAccess>[0]) => client.getAccess(request, { headers }),
    explainPolicy: (request: Parameters<typeof client.explainPolicy>[0]) => client.explainPolicy(request, { headers }),
  };
}

describe("may I?", () => {
  test("yes, with the role and the policies; by every protocol; one entry, and nothing is done", async () => {
    const token = await server.token(["sre"], "sam");
    for (const door of doorsOf(Access.method.getAccess)) {
      const callId = `access-${door.protocol}`;
      const answer = await call(door, server.url, { workflowId, action: ["pause"] }, { token, callId });
      expect(answer).toMatchObject({ code: "OK", messages: [{ subject: "sam", roles: ["sre"], workflowId }] });
      expect(answer.messages[0]?.actions).toMatchObject([
        {
          action: "runtime.pause",
          methods: ["missioncontrol.v1.MissionControl/PauseWorkflow"],
          permission: "workflows.pause",
          answer: Answer.YES,
          grantedBy: [{ role: "sre", scopes: [], reaches: true }],
          policy: {
            allowed: true,
            policyIds: ["control"],
            policySetHash: expect.stringMatching(/^[0-9a-f]{64}$/),
            points: [{ point: "cedar", outcome: Outcome.ALLOWED }],
          },
        },
      ]);
      expect(await toldOf(server, callId)).toEqual(["READ"]);
    }
    expect((await server.control.getWorkflow({ workflowId })).workflow?.holds).toEqual([]);
  });

  test("no, where no role gives it: which would is told, and policy is not asked", async () => {
    const { of } = await ask(["viewer"], { workflowId });
    expect(of("runtime.get")).toMatchObject({ answer: Answer.YES });
    const pause = of("runtime.pause");
    expect(pause).toMatchObject({
      answer: Answer.NO,
      grantedBy: [],
      message: "none of your roles gives workflows.pause",
    });
    expect(pause?.rolesToAskFor).toEqual(["sre", "sre_admin", "scoped"]);
    expect(pause?.policy).toBeUndefined();
  });

  test("no, where policy is against it, with its message", async () => {
    const { of } = await ask(["sre"], { workflowId: reserved, action: ["resume"] });
    expect(of("runtime.resume")).toMatchObject({
      answer: Answer.NO,
      message: "this workflow is labelled resume=sre_admin: ask an sre_admin to resume it",
      policy: { allowed: false, policyIds: ["resume-reserved-for-admins"] },
    });
  });

  test("no, where the role that gives it does not reach the workflow, though another shows it", async () => {
    const { of } = await ask(["scoped", "looker"], { workflowId: beyond });
    expect(of("runtime.get")).toMatchObject({ answer: Answer.YES });
    expect(of("runtime.pause")).toMatchObject({
      answer: Answer.NO,
      grantedBy: [{ role: "scoped", reaches: false, scopes: [{ types: ["SuspendedAwaiter", "Reserved"] }] }],
    });
  });

  test("a workflow beyond the scope is answered like one that no engine knows", async () => {
    const token = await server.token(["scoped"], "sam");
    const unknown = `restate:inv_1${"a".repeat(beyond.length - "restate:inv_1".length)}`;
    const door = doorOf(Access.method.getAccess, "rest");
    const [there, nowhere] = await Promise.all(
      [beyond, unknown].map((id) => call(door, server.url, { workflowId: id }, { token })),
    );
    expect(there).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND", messages: [] });
    expect(there?.message.replaceAll(beyond, "ID")).toBe(nowhere?.message.replaceAll(unknown, "ID"));
    expect(JSON.stringify(there?.metadata).replaceAll(beyond, "ID")).toBe(
      JSON.stringify(nowhere?.metadata).replaceAll(unknown, "ID"),
    );
  });

  test("in general it depends on the workflow or the brake; all that there is is listed", async () => {
    const { actions, of } = await ask(["scoped"], {});
    expect(of("runtime.pause")).toMatchObject({ answer: Answer.DEPENDS, grantedBy: [{ role: "scoped" }] });
    expect(of("runtime.brake")).toMatchObject({ answer: Answer.DEPENDS, policy: { allowed: true } });
    expect(of("runtime.list")).toMatchObject({ answer: Answer.YES });
    expect(of("audit.list")).toMatchObject({ answer: Answer.NO, rolesToAskFor: ["auditor", "sre_admin"] });
    expect(actions.map(({ action }) => action)).toEqual(actions.map(({ action }) => action).toSorted());
    const methods = actions.flatMap((one) => one.methods);
    for (const { methods: all, typeName } of [MissionControl, Brakes, Access]) {
      for (const { name } of all) expect(methods).toContain(`${typeName}/${name}`);
    }
    expect(methods.filter((name) => name.includes(".gate."))).toEqual([]);
  });

  test("an action that there is not is told with those that there are", async () => {
    const door = doorOf(Access.method.getAccess, "rest");
    const answer = await call(door, server.url, { action: ["steer"] }, { token: await server.token(["sre"]) });
    expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", violations: [{ field: "action" }] });
    expect(answer.message).toContain("runtime.pause");
  });

  test("the emergency brake that one pulled oneself: the answer is that of the call", async () => {
    const id = `restate:${await engine.start("SuspendedAwaiter/run")}`;
    const token = await server.token(["sre"], "sam");
    const pause = { workflowId: id, reason: "fire", emergency: true };
    expect((await call(doorOf(MissionControl.method.pauseWorkflow, "grpc"), server.url, pause, { token })).code).toBe(
      "OK",
    );
    const { of } = await ask(["sre"], { workflowId: id, action: ["resume"] }, "sam");
    expect(of("runtime.resume")).toMatchObject({
      answer: Answer.NO,
      policy: { policyIds: ["emergency-needs-a-second-person"] },
    });
    const resume = doorOf(MissionControl.method.resumeWorkflow, "rest");
    const refused = await call(resume, server.url, { workflowId: id, reason: "over" }, { token });
    expect(refused).toMatchObject({
      code: "PERMISSION_DENIED",
      httpStatus: 403,
      reason: "POLICY_DENIED",
      metadata: { policy_ids: "emergency-needs-a-second-person", decided_by: "cedar", action: "runtime.resume" },
    });
    expect((await ask(["sre"], { workflowId: id, action: ["resume"] }, "kim")).of("runtime.resume")?.answer).toBe(
      Answer.YES,
    );
  });
});

test("policy is explained for whatever inputs, to whom the ledger is open", async () => {
  const explain = async (request: Parameters<ReturnType<typeof clientOf>["explainPolicy"]>[0]) =>
    (await clientOf(await server.token(["auditor"])).explainPolicy(request)).decision;
  const machine = { subject: "bot", roles: ["sre_admin"], machine: true };
  const workflow = { engine: "restate", type: "RefundAgent", labels: ["team=payments"] };
  expect(await explain({ action: "runtime.resume", workflow, caller: machine, reason: "over" })).toMatchObject({
    allowed: false,
    policyIds: ["machines-never-release"],
  });
  expect(await explain({ action: "runtime.pause", workflow, reason: " " })).toMatchObject({
    policyIds: ["control-needs-a-reason"],
  });
  expect(await explain({ action: "runtime.pause", workflowId: reserved, reason: "x" })).toMatchObject({
    allowed: true,
  });
  const brake = { matched: 60n, radius: 50n, emergency: true };
  expect(await explain({ action: "runtime.brake", brake, caller: machine, reason: "x" })).toMatchObject({
    policyIds: ["machines-brake-within-radius"],
  });
  const nobody = await call(
    doorOf(Access.method.explainPolicy, "rest"),
    server.url,
    { action: "runtime.pause" },
    { token: await server.token(["sre"]) },
  );
  expect(nobody).toMatchObject({ code: "PERMISSION_DENIED", reason: "ROLE_DENIED" });
});

test("mctl can and mctl policy explain tell the answer and why, and a no is exit code 4", async () => {
  const env = { MCTL_SERVER: server.url, MCTL_TOKEN: await server.token(["scoped"], "sam") };
  const yes = await mctl(["can", "pause", workflowId], { env });
  expect(yes.stdout).toMatch(
    /^yes {2}runtime\.pause on restate:inv_\w+\nrole +scoped \(type SuspendedAwaiter or Reserved\) gives workflows\.pause\npolicy +cedar: allowed by control \(set [0-9a-f]{12}\)\n$/,
  );
  expect(yes.code).toBe(0);
  const no = await mctl(["can", "resume", reserved], { env });
  expect(no.stdout).toMatch(/^no {2}runtime\.resume on .*\nwhy +this workflow is labelled resume=sre_admin/);
  expect(no.code).toBe(4);
  expect((await mctl(["can", "pause", beyond], { env })).code).toBe(3);
  const all = await mctl(["can", "--list"], { env });
  expect(all.stdout).toMatch(/^runtime\.pause +depends +scoped .*on the workflow: name one$/m);
  expect(all.code).toBe(0);
  const auditor = { ...env, MCTL_TOKEN: await server.token(["auditor"]) };
  const args = ["policy", "explain", "runtime.resume", "--role", "sre", "--machine", "--type", "A", "--reason", "x"];
  const explained = await mctl(args, { env: auditor });
  expect(explained.stdout).toMatch(/^denied {2}runtime\.resume\npolicy +cedar: denied by machines-never-release \(set/);
  expect(explained.code).toBe(4);
});
