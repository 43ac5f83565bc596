import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { registerDeployment } from "../../src/dev/register-deployment.ts";
import { startTestEngine } from "../fixture/restate.ts";
import { startTestServer } from "../fixture/server.ts";

/** How long everything between the engine and its workers takes, one way, ms. */
const lagMs = 300;

/** Passes everything on to a port, later. */
async function startLag(port: number): Promise<Server> {
  const passOn = (from: Socket, to: Socket) => {
    from.setNoDelay();
    from.on("data", (data) => setTimeout(() => to.write(data), lagMs));
    from.on("close", () => setTimeout(() => to.destroy(), lagMs));
    from.on("error", () => {});
  };
  const server = createServer((engine) => {
    const worker = connect(port, "127.0.0.1");
    passOn(engine, worker);
    passOn(worker, engine);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test.each([
  ["in the default mode", false],
  ["with virtual queues", true],
])("a worker a third of a second away, %s: no step starts after all were told to stand", async (_, virtualQueues) => {
  const engine = await startTestEngine({ virtualQueues });
  const server = await startTestServer(engine.adminSocket);
  const [deployment] = await engine.query<{ endpoint: string }>("SELECT endpoint FROM sys_deployment");
  const lag = await startLag(Number(new URL(deployment?.endpoint ?? "").port));
  const { port } = lag.address() as AddressInfo;
  await registerDeployment(engine.adminSocket, `http://127.0.0.1:${port}`, AbortSignal.timeout(20_000));
  try {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        // One after the other: the brake finds each at another point between the engine and its worker.
        await delay(n * 35);
        return engine.start("Steps/run", { count: 20, ms: 20 });
      }),
    );
    for (const id of ids) await engine.steps.untilStep(id, "step-1");
    const wait = durationFromMs(20_000);
    const { brake } = await server.brakes.engageBrake({ selector: { types: ["Steps"] }, reason: "test", wait });
    const since = Date.now();
    expect(brake?.receipt).toMatchObject({ matched: 20, standing: 20 });
    await delay(3 * lagMs);
    expect(ids.reduce((sum, id) => sum + engine.steps.startedSince(id, since), 0)).toBe(0);
  } finally {
    lag.close();
    await server.stop();
    await engine.stop();
  }
});
