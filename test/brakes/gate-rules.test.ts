import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { createGate, type Gate, type Run } from "../../src/gate/index.ts";
import { type GateServer, startGateServer } from "../fixture/gate-server.ts";

let server: GateServer;
let gate: Gate;
beforeAll(async () => {
  server = await startGateServer();
  const { secret } = await server.tokens.createGateToken({ name: "agents", engine: "attached", reason: "test" });
  gate = createGate({ url: server.url, token: secret, engine: "attached" });
  await gate.ready();
});
afterAll(async () => {
  await gate?.close();
  await server?.stop();
});

const runs: Run[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) run.cancel();
  const { brakes } = await server.brakes.listBrakes({ state: [State.ENGAGED] });
  for (const { brakeId } of brakes) await server.brakes.releaseBrake({ brakeId, reason: "test" });
});

/** A run that asks for a step at once: whether it has begun by itself. */
function asking(labels: Record<string, string>, type = "Refund"): { id: string; begun: boolean; ended: Promise<void> } {
  const run = gate.start({ type, labels });
  runs.push(run);
  const asked = { id: `attached:${run.id}`, begun: false, ended: Promise.resolve() };
  const begin = () => {
    asked.begun = true;
  };
  asked.ended = run.step("pay", begin).catch(() => undefined);
  return asked;
}

const engage = (selector: object) => server.brakes.engageBrake({ selector, reason: "test", gateWait: seconds(10) });
const seconds = (count: number) => ({ seconds: BigInt(count), nanos: 0 });

test("a brake on labels is told to gates by them: it holds only those runs that carry all of them, and from their first step on", async () => {
  const labels = ["team=payments", "tier=gold"];
  const { brake } = await engage({ labels });
  expect(brake?.receipt?.gates).toMatchObject([{ ackTime: expect.anything() }]);
  // No id is needed to tell them.
  expect(gate.state()).toMatchObject({ brakes: 1, workflows: 0 });
  const held = asking({ team: "payments", tier: "gold", more: "x" });
  const free = [
    asking({}),
    asking({ team: "payments" }),
    asking({ tier: "gold" }),
    asking({ team: "payments", tier: "silver" }),
    asking({ team: "gold", tier: "payments" }),
  ];
  await Promise.all(free.map(({ ended }) => ended));
  expect(free.map(({ begun }) => begun)).toEqual(free.map(() => true));
  expect(held.begun).toBe(false);
  // Nothing in the gate's memory of what is held has come by its id.
  expect(gate.state().workflows).toBe(0);
  await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "test" });
  await held.ended;
  expect(held.begun).toBe(true);
});

test("with types and a name beside the labels, all of it has to match", async () => {
  await engage({ labels: ["team=payments"], types: ["Refund"] });
  const held = asking({ team: "payments" });
  const free = [asking({ team: "payments" }, "Other"), asking({ team: "sales" })];
  await Promise.all(free.map(({ ended }) => ended));
  expect([held.begun, ...free.map(({ begun }) => begun)]).toEqual([false, true, true]);
});

test("labels with ids beside them hold those ids alone", async () => {
  const run = gate.start({ type: "Refund", labels: { team: "payments" } });
  runs.push(run);
  await vi.waitFor(() => expect(gate.state().unacknowledgedReports).toBe(0));
  await engage({ labels: ["team=payments"], workflowIds: [`attached:${run.id}`] });
  let begun = false;
  const held = run.step("pay", () => {
    begun = true;
  });
  const free = asking({ team: "payments" });
  await free.ended;
  expect([begun, free.begun]).toEqual([false, true]);
  run.cancel();
  await expect(held).rejects.toThrow("has ended");
});

test.each([
  ["an expression", () => ({ expression: 'workflow.type == "Refund"' })],
  ["a status", () => ({ statuses: [2] })],
  ["a time", () => ({ createdAfter: seconds(1) })],
  ["the beginning of an id", (id: string) => ({ idPrefix: `attached:${id.slice(0, 8)}` })],
])(
  "labels with %s beside them are not told as if they were enough: what is caught is told by its id",
  async (_what, more) => {
    const run = gate.start({ type: "Refund", labels: { team: "payments" } });
    runs.push(run);
    await vi.waitFor(() => expect(gate.state().unacknowledgedReports).toBe(0));
    await engage({ labels: ["team=payments"], ...more(run.id) });
    await vi.waitFor(() => expect(gate.state()).toMatchObject({ brakes: 1, workflows: 1 }));
  },
);
