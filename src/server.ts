import type { ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ReflectionV1 } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AuditLog, AuditEntry_Phase as Phase } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { Brakes } from "./brakes/brakes.ts";
import { Feed } from "./brakes/feed.ts";
import { Reconciler } from "./brakes/reconciler.ts";
import { settleIntents } from "./brakes/settle-intents.ts";
import { Workflows } from "./brakes/workflows.ts";
import type { Engine } from "./engines/engine.ts";
import { EngineRegistry } from "./engines/registry.ts";
import { createPort } from "./http/port.ts";
import type { IssuerConfig } from "./identity/issuer.ts";
import { createVerifier } from "./identity/verify.ts";
import { auditRefusal } from "./interceptors/audit-refusal.ts";
import { createChain } from "./interceptors/chain.ts";
import { createLedger } from "./ledger/ledger.ts";
import type { Logger } from "./log.ts";
import { openCedar } from "./policy/cedar.ts";
import { defaultRoles } from "./policy/roles.ts";
import { auditLogService } from "./services/audit-log.ts";
import { ControlService } from "./services/control.ts";
import { type Component, HealthService } from "./services/health.ts";
import { Idempotency } from "./services/idempotency.ts";
import { missionControlService } from "./services/mission-control.ts";
import { openSqlite } from "./store/sqlite.ts";

/** What a server is made of. */
export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** The database's file. */
  readonly databasePath: string;
  /** The folder with *.cedar and the schema. */
  readonly policiesDir: string;
  readonly engines: readonly Engine[];
  readonly issuers: readonly IssuerConfig[];
  /** Parts beside the server's own that health looks at. */
  readonly components: readonly Component[];
  readonly version: string;
  readonly devMode: boolean;
  readonly log: Logger;
}

/** A server that serves. */
export interface Server {
  readonly address: string;
  readonly port: number;
  /** Ends streams and calls in flight, stops reconciling, writes what waits. What is braked stays braked. */
  close(graceMs?: number): Promise<void>;
}

/** The composition root: settles what a crash left open, makes the brakes true, then takes calls. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { log } = options;
  const policy = await openCedar(options.policiesDir, log);
  const verify = await createVerifier({ issuers: options.issuers, roles: Object.keys(defaultRoles) });
  const engines = new EngineRegistry(options.engines);
  const store = openSqlite(options.databasePath);
  const ledger = createLedger(store, log);
  const settled = await settleIntents(store, ledger);
  await ledger.append({
    phase: Phase.SYSTEM,
    action: "server.started",
    message: `version ${options.version}${options.devMode ? ", dev mode" : ""}; ${settled} open intents settled`,
  });
  const brakes = await Brakes.open(store, ledger, engines);
  const workflows = new Workflows(engines, brakes, store);
  const feed = new Feed(engines, workflows, brakes, log);
  const reconcilers = options.engines.map((engine) => new Reconciler(engine, brakes, log));
  const components: Component[] = [
    ...options.engines.map(engineComponent),
    ...reconcilers.map(reconcilerComponent),
    {
      name: "ledger",
      check: () =>
        ledger.fault
          ? { status: "unhealthy", message: ledger.fault.message }
          : { status: "healthy", message: "writable" },
    },
    ...options.components,
  ];
  const health = new HealthService(engines, brakes, reconcilers, components, options);
  const control = new ControlService(brakes, workflows, new Idempotency(store));
  const chain = createChain({
    services: [MissionControl, AuditLog, ReflectionV1, ReflectionV1Alpha],
    log,
    ledger,
    verify,
    roles: defaultRoles,
    policy,
    resolveTarget: (workflowId, signal) => workflows.get(workflowId, signal),
  });
  const port = await createPort({
    host: options.host,
    port: options.port,
    routes: (router: ConnectRouter) => {
      router.service(MissionControl, missionControlService({ workflows, feed, control, health }));
      router.service(AuditLog, auditLogService(store));
    },
    interceptors: chain.map((link) => link.interceptor),
    ready: () => {
      const faults = reconcilers.flatMap(({ state }) =>
        state.fault ? [`${state.engine}: ${state.fault.message}`] : [],
      );
      if (ledger.fault) faults.push(`ledger: ${ledger.fault.message}`);
      return faults.length === 0 ? true : faults;
    },
    onRefused: auditRefusal(ledger),
    log,
  });
  for (const reconciler of reconcilers) reconciler.start();

  const close = async (graceMs?: number) => {
    await Promise.all([port.close(graceMs), feed.close()]);
    await Promise.all(reconcilers.map((reconciler) => reconciler.stop()));
    await ledger.append({ phase: Phase.SYSTEM, action: "server.stopped" }).catch(() => undefined);
    await store.close();
  };
  try {
    return { ...(await port.listen()), close };
  } catch (error) {
    await close(0);
    throw error;
  }
}

function engineComponent(engine: Engine): Component {
  return {
    name: `engine/${engine.name}`,
    check: async (signal) => ({ status: "healthy", message: `version ${(await engine.probe(signal)).version}` }),
  };
}

function reconcilerComponent(reconciler: Reconciler): Component {
  return {
    name: `reconciler/${reconciler.state.engine}`,
    check: () => {
      const { fault, roundMs } = reconciler.state;
      if (fault) return { status: "unhealthy", message: `since ${fault.since.toISOString()}: ${fault.message}` };
      return { status: "healthy", message: `last round ${roundMs} ms` };
    },
  };
}
