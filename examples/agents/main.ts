import { createServer } from "node:http2";
import { join } from "node:path";
import { createEndpointHandler } from "@restatedev/restate-sdk";
import { canary } from "./canary.ts";
import { drive } from "./driver.ts";
import { gateOf } from "./gate.ts";
import { inbox } from "./inbox.ts";
import { licenseAudit } from "./license-audit.ts";
import { logTriage } from "./log-triage.ts";
import { orchestrator } from "./orchestrator.ts";
import { refundAgent } from "./refund-agent.ts";
import type { Settings } from "./settings.ts";
import { createShutdown } from "./shutdown.ts";

const { env } = process;
const dataDir = env.AGENTS_DATA_DIR ?? ".mission-control";
const settings: Settings = {
  port: Number(env.AGENTS_PORT ?? 8031),
  dataDir,
  workDir: env.AGENTS_WORK_DIR ?? join(dataDir, "work"),
  packagesDir: env.AGENTS_PACKAGES_DIR ?? "node_modules",
  refundsCsv: env.AGENTS_REFUNDS_CSV ?? join(import.meta.dirname, "data", "refunds.csv"),
  ingressSocket: env.AGENTS_INGRESS_SOCKET,
};

const services = [licenseAudit, logTriage, refundAgent, orchestrator, inbox, canary].map((create) => create(settings));
const shutdown = createShutdown();
const gate = gateOf(env);
const hooks = [shutdown.hooks, ...(gate ? [gate.hooks] : [])];
const server = createServer(createEndpointHandler({ services, defaultServiceOptions: { hooks } }));
// Where whoever read the log is gone, lines are lost, but no step that is in flight.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
const stopping = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, async () => {
    stopping.abort();
    await shutdown.drain(7_000);
    await gate?.close();
    process.exit(0);
  });
}

server.listen(settings.port, "127.0.0.1", () => {
  console.log(`agents listening on http://127.0.0.1:${settings.port}`);
  if (settings.ingressSocket !== undefined) void drive(settings, settings.ingressSocket, stopping.signal);
});
