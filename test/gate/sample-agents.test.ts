import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startAgents } from "../../src/dev/agents-process.ts";
import { startEmbeddedRestate } from "../../src/dev/embedded-restate.ts";
import type { Supervised } from "../../src/dev/supervisor.ts";
import { unixRequest } from "../../src/dev/unix-http.ts";
import { createLog } from "../../src/log.ts";
import { newOnes } from "./rule.ts";
import { type GateServer, startGateServer } from "./server.ts";

let dataDir: string;
let server: GateServer;
const children: Supervised[] = [];
beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "mc-gate-agents-"));
  server = await startGateServer();
});
afterAll(async () => {
  for (const child of children.reverse()) await child.stop();
  await server?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, "close");
  return port;
}

test("the sample agents attach when the server comes up after them, hold, go on, and leave when they are stopped", async () => {
  const log = createLog("silent");
  const tokenFile = join(dataDir, "gate.token");
  writeFileSync(tokenFile, `${await server.token()}\n`);
  await server.close();
  const engine = await startEmbeddedRestate({ dataDir, log });
  children.push(engine);
  const { adminSocket, ingressSocket } = engine;
  const gate = { url: server.url, tokenFile };
  const agents = await startAgents({
    dataDir,
    port: await freePort(),
    adminSocket,
    ingressSocket,
    log,
    gate,
    driver: false,
  });
  children.push(agents);

  await server.start();
  const held = Promise.withResolvers<string>();
  server.gates.onHeld((_, [id = ""]) => held.resolve(id));
  const revision = server.gates.setRules("restate", [newOnes({ types: ["RefundAgent"] })]);
  while (server.gates.attached().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await server.gates.untilApplied("restate", revision, 10_000)).toMatchObject([
    { gate: expect.stringMatching(/^sample-agents\//), appliedTime: expect.any(Number) },
  ]);

  const call = async (socket: string, method: "GET" | "POST" | "PATCH", path: string, body?: unknown) => {
    const answer = await unixRequest(socket, method, path, { body, signal: AbortSignal.timeout(20_000) });
    expect(answer.status).toBeLessThan(300);
    return JSON.parse(answer.body || "null");
  };
  const { invocationId } = await call(ingressSocket, "POST", "/RefundAgent/pay/send", { from: 60, to: 60 });
  expect(await held.promise).toBe(invocationId);
  await server.gates.untilApplied("restate", server.gates.setRules("restate", []), 10_000);
  for (let status = ""; status !== "paused"; ) {
    const { rows } = await call(adminSocket, "POST", "/query", {
      query: `SELECT status FROM sys_invocation WHERE id = '${invocationId}'`,
    });
    status = rows[0].status;
  }
  await call(adminSocket, "PATCH", `/invocations/${invocationId}/resume`);
  expect(await call(ingressSocket, "GET", `/restate/invocation/${invocationId}/attach`)).toMatchObject({ refunds: 1 });

  await agents.stop();
  expect(await server.gates.untilApplied("restate", 1n << 60n, 10_000)).toEqual([]);
});
