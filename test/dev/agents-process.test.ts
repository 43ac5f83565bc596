import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startAgents } from "../../src/dev/agents-process.ts";
import { startEmbeddedRestate } from "../../src/dev/embedded-restate.ts";
import type { Supervised } from "../../src/dev/supervisor.ts";
import { unixRequest } from "../../src/dev/unix-http.ts";
import { createLog } from "../../src/log.ts";
import { freePort } from "../fixture/free-port.ts";

const log = createLog("silent");
let dataDir: string;
let stops: Supervised[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "mc-agents-"));
  stops = [];
});
afterEach(async () => {
  for (const child of stops.reverse()) await child.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(port: number) {
  const engine = await startEmbeddedRestate({ dataDir, log });
  stops.push(engine);
  const { adminSocket, ingressSocket } = engine;
  const agents = await startAgents({ dataDir, port, adminSocket, ingressSocket, log, driver: false });
  stops.push(agents);
  const call = async (socket: string, method: "GET" | "POST", path: string, body?: unknown) => {
    const answer = await unixRequest(socket, method, path, { body, signal: AbortSignal.timeout(20_000) });
    return { status: answer.status, body: JSON.parse(answer.body || "null") };
  };
  return { engine, agents, call };
}

test("the engine knows the agents and their metadata", async () => {
  const { engine, call } = await start(await freePort());
  const { body } = await call(engine.adminSocket, "GET", "/services/RefundAgent");
  expect(body.metadata).toEqual({ owner: "payments-team", team: "payments", risk: "high" });
});

test("a second start on the same data directory goes on with the open runs of the first", async () => {
  const port = await freePort();
  const first = await start(port);
  const input = { batch: "b", from: 1, to: 4 };
  const { body } = await first.call(first.engine.ingressSocket, "POST", "/RefundAgent/pay/send", input);
  await first.agents.stop();
  await first.engine.stop();

  const second = await start(port);
  const output = `/restate/invocation/${body.invocationId}/attach`;
  expect((await second.call(second.engine.ingressSocket, "GET", output)).body).toMatchObject({
    batch: "b",
    refunds: 4,
  });
});

test("agents that crash are started again and found by the engine", async () => {
  const { agents, engine, call } = await start(await freePort());
  const back = Promise.withResolvers<void>();
  agents.onState(({ status, restarts }) => {
    if (status === "ready" && restarts === 1) back.resolve();
  });
  process.kill(agents.state().pid ?? 0, "SIGKILL");
  await back.promise;
  const { body } = await call(engine.ingressSocket, "POST", "/RefundAgent/pay", { from: 60, to: 60 });
  expect(body).toMatchObject({ refunds: 1 });
});

test("a port in use is an error that names the port and says what to do", async () => {
  const occupant = createServer().listen(0, "127.0.0.1");
  await once(occupant, "listening");
  const { port } = occupant.address() as AddressInfo;
  const nobody = join(dataDir, "nobody.sock");
  const attempt = startAgents({ dataDir, port, adminSocket: nobody, ingressSocket: nobody, log });
  await expect(attempt).rejects.toThrow(new RegExp(`Port ${port} on 127.0.0.1 is in use.*--agents-port`));
  occupant.close();
});
