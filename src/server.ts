import type { ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ReflectionV1 } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Gate } from "../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Metrics as MetricsDescriptor } from "../gen/missioncontrol/metrics/v1/metrics_pb.ts";
import { AuditLog, AuditEntry_Phase as Phase } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes as BrakesDescriptor } from "../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { type BlastRadius, defaultBlastRadius } from "./brakes/blast-radius.ts";
import { Brakes } from "./brakes/brakes.ts";
import { Catching } from "./brakes/catch.ts";
import { type Canary, Drills } from "./brakes/drill.ts";
import { Feed } from "./brakes/feed.ts";
import { defaultFleetRules, FleetCommands } from "./brakes/fleet.ts";
import { GateRules } from "./brakes/gate-rules.ts";
import { Gates } from "./brakes/gates.ts";
import { Lifecycle } from "./brakes/lifecycle.ts";
import { PauseCommands } from "./brakes/pause.ts";
import { Reconciler } from "./brakes/reconciler.ts";
import { settleIntents } from "./brakes/settle-intents.ts";
import { Workflows } from "./brakes/workflows.ts";
import type { Engine } from "./engines/engine.ts";
import { EngineRegistry } from "./engines/registry.ts";
import { createPort } from "./http/port.ts";
import type { TlsConfig } from "./http/tls.ts";
import type { IssuerConfig } from "./identity/issuer.ts";
import { createVerifier } from "./identity/verify.ts";
import { auditRefusal } from "./interceptors/audit-refusal.ts";
import { authenticator } from "./interceptors/authenticate.ts";
import { createChain } from "./interceptors/chain.ts";
import { codeName } from "./interceptors/errors.ts";
import { createLedger } from "./ledger/ledger.ts";
import { createRefusals, type RefusalLimits } from "./ledger/refusals.ts";
import type { Logger } from "./log.ts";
import { openPolicy } from "./policy/open.ts";
import type { RemoteConfig } from "./policy/remote.ts";
import { defaultRoles, type Roles } from "./policy/roles.ts";
import { auditLogService } from "./services/audit-log.ts";
import { BrakeTargets } from "./services/brake-targets.ts";
import { brakesService } from "./services/brakes.ts";
import { ControlService } from "./services/control.ts";
import { drillComponent } from "./services/drill.ts";
import { DrillSchedule, minDrillEveryMs } from "./services/drill-schedule.ts";
import { brakesComponent, tellEmergencies } from "./services/emergencies.ts";
import { gateService } from "./services/gate.ts";
import { type Component, HealthService } from "./services/health.ts";
import { Idempotency } from "./services/idempotency.ts";
import { issuerComponents } from "./services/issuers.ts";
import { Metrics } from "./services/metrics.ts";
import { missionControlService } from "./services/mission-control.ts";
import { tlsComponent } from "./services/tls.ts";
import { openSqlite } from "./store/sqlite.ts";

/** A reconciler whose next full round has been due for this long is told as degraded, ms. */
const lateMs = 10_000;

/** What a server is made of. */
export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** The database's file. */
  readonly databasePath: string;
  /** The folder with *.cedar and the schema; without one, only the remotes decide. */
  readonly policiesDir?: string;
  /** Decision points to ask as well, over the network: all have to permit. */
  readonly policyRemotes?: readonly RemoteConfig[];
  readonly engines: readonly Engine[];
  readonly issuers: readonly IssuerConfig[];
  /** Parts beside the server's own that health looks at. */
  readonly components: readonly Component[];
  readonly version: string;
  readonly devMode: boolean;
  readonly log: Logger;
  /** The most workflows that each role may brake without a second person; by default `defaultBlastRadius`. */
  readonly blastRadius?: BlastRadius | undefined;
  /** The longest that a brake may hold, ms; by default until somebody releases it. */
  readonly longestBrakeMs?: number | undefined;
  /** Roles and what they may do; by default `defaultRoles`. */
  readonly roles?: Roles | undefined;
  /** TLS on the port; undefined: without. */
  readonly tls?: TlsConfig | undefined;
  /** What differs from `defaultRefusalLimits`. */
  readonly refusalLimits?: Partial<RefusalLimits> | undefined;
  /** Whose pages may call from a browser, as exact origins; by default nobody's. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** Why the port does without TLS, for the ledger; undefined where it does not, or in dev mode. */
  readonly plaintextBecause?: string | undefined;
  /** What drills brake; without any, there are none. */
  readonly canaries?: readonly Canary[];
  /** Drill by itself after so much time, again and again, ms (at least a minute); by default only when asked. */
  readonly drillEveryMs?: number;
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
  const { log, canaries = [], drillEveryMs, roles = defaultRoles, plaintextBecause } = options;
  if (drillEveryMs !== undefined && !(drillEveryMs >= minDrillEveryMs)) {
    throw new RangeError(`drillEveryMs is at least ${minDrillEveryMs}, not ${drillEveryMs}`);
  }
  const policy = await openPolicy({ dir: options.policiesDir, remotes: options.policyRemotes }, log);
  const verifier = await createVerifier({
    issuers: options.issuers,
    roles: Object.keys(roles),
    log,
    insecureLoopback: options.devMode,
  });
  const engines = new EngineRegistry(options.engines);
  const engineNames = options.engines.map((engine) => engine.name);
  const store = openSqlite(options.databasePath);
  const ledger = createLedger(store, log);
  const refusals = createRefusals(ledger, log, options.refusalLimits);
  const settled = await settleIntents(store, ledger);
  await ledger.append({
    phase: Phase.SYSTEM,
    action: "server.started",
    message:
      `version ${options.version}${options.devMode ? ", dev mode" : ""}; ${settled} open intents settled` +
      (plaintextBecause === undefined ? "" : `; without TLS: ${plaintextBecause}`),
  });
  const brakes = await Brakes.open(store, ledger);
  const catching = new Catching(brakes, engineNames);
  const gates = new Gates({ engines: engineNames, log });
  const gateRules = new GateRules(brakes, engines, catching, gates, log);
  const workflows = new Workflows(engines, brakes, store);
  const feed = new Feed(engines, workflows, brakes, log);
  const reconcilers = options.engines.map(
    (engine) => new Reconciler(engine, brakes, catching, gateRules.of(engine.name), log),
  );
  const pauses = new PauseCommands(brakes, engines, options.longestBrakeMs);
  const rules = defaultFleetRules(options.blastRadius ?? defaultBlastRadius, options.longestBrakeMs);
  const lifecycle = new Lifecycle(brakes, engines, rules.approveWithinMs, log);
  const commands = new FleetCommands(brakes, engines, catching, gates, rules);
  const targets = new BrakeTargets(brakes, commands);
  const drillCommands = { brakes, engines, pauses, fleet: commands, gateRules };
  const drills = await Drills.open({ ...drillCommands, canaries, ledger, store, log });
  const schedule = new DrillSchedule(drills, ledger, log);
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
    ...issuerComponents(verifier),
    brakesComponent(brakes),
    ...policy.remotes.map((remote) => ({ name: `policy/${remote.name}`, check: () => remote.report() })),
    ...(canaries.length > 0 ? [drillComponent(drills)] : []),
    ...(options.tls ? [tlsComponent(() => port.tls?.state())] : []),
    ...options.components,
  ];
  const health = new HealthService(engines, brakes, reconcilers, drills, components, options);
  const idempotency = new Idempotency(store);
  const control = new ControlService(brakes, pauses, workflows, policy, idempotency);
  const services = [
    MissionControl,
    BrakesDescriptor,
    AuditLog,
    Gate,
    MetricsDescriptor,
    ReflectionV1,
    ReflectionV1Alpha,
  ];
  const metrics = new Metrics({ services, engines: engineNames, brakes, reconcilers, gates, ledger, drills });
  const chain = createChain({
    services,
    log,
    ledger,
    refusals,
    verifier,
    roles,
    policy,
    resolveTarget: (workflowId, signal) => workflows.get(workflowId, signal),
    resolveBrake: (call, signal) => targets.factsOf(call, signal),
    ended: (call, code) => metrics.ended(call, code),
  });
  const recordRefusal = auditRefusal(refusals, services);
  const port = await createPort({
    host: options.host,
    port: options.port,
    routes: (router: ConnectRouter) => {
      router.service(MissionControl, missionControlService({ workflows, feed, control, health }));
      router.service(
        BrakesDescriptor,
        brakesService({
          brakes,
          catching,
          engines,
          commands,
          targets,
          gates,
          gateRules,
          workflows,
          drills,
          store,
          idempotency,
          policy,
          roles,
        }),
      );
      router.service(AuditLog, auditLogService(store));
      router.service(Gate, gateService(gates));
    },
    interceptors: chain.map((link) => link.interceptor),
    authenticate: authenticator(verifier.verify),
    ready: () => {
      const faults = reconcilers.flatMap(({ state }) =>
        state.fault ? [`${state.engine}: ${state.fault.message}`] : [],
      );
      if (ledger.fault) faults.push(`ledger: ${ledger.fault.message}`);
      return faults.length === 0 ? true : faults;
    },
    onRefused: (call, error) => {
      metrics.ended(call, codeName(error.code));
      return recordRefusal(call, error);
    },
    metrics: () => metrics.text(),
    tls: options.tls,
    corsOrigins: options.corsOrigins,
    log,
  });
  const stopTelling = tellEmergencies(brakes, log);
  for (const reconciler of reconcilers) reconciler.start();
  lifecycle.start();
  gateRules.start((engine) => {
    for (const reconciler of reconcilers) if (reconciler.state.engine === engine) reconciler.wake();
  });
  if (drillEveryMs !== undefined) schedule.start(drillEveryMs);

  const close = async (graceMs?: number) => {
    await Promise.all([port.close(graceMs), feed.close(), drills.stop(), schedule.stop()]);
    await Promise.all([lifecycle.stop(), gateRules.stop(), ...reconcilers.map((reconciler) => reconciler.stop())]);
    stopTelling();
    verifier.close();
    metrics.close();
    policy.close();
    await refusals.close();
    await ledger.append({ phase: Phase.SYSTEM, action: "server.stopped" }).catch(() => undefined);
    await store.close();
  };
  try {
    // A gate that comes back holds by what it knew: it is to get no set before there is one.
    await gateRules.sync();
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
      const { fault, roundMs, lagMs } = reconciler.state;
      if (fault) return { status: "unhealthy", message: `since ${fault.since.toISOString()}: ${fault.message}` };
      if (lagMs > lateMs) return { status: "degraded", message: `a full round has been due for ${lagMs} ms` };
      return { status: "healthy", message: `last round ${roundMs} ms, due for ${lagMs} ms` };
    },
  };
}
