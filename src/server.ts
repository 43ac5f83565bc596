import { dirname, join } from "node:path";
import type { ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ReflectionV1 } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Gate } from "../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Metrics as MetricsDescriptor } from "../gen/missioncontrol/metrics/v1/metrics_pb.ts";
import { Access as AccessDescriptor } from "../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog, AuditEntry_Phase as Phase } from "../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes as BrakesDescriptor } from "../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens as GateTokensDescriptor } from "../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations as RevocationsDescriptor } from "../gen/missioncontrol/v1/revocations_pb.ts";
import type { BlastRadius } from "./brakes/blast-radius.ts";
import { Brakes } from "./brakes/brakes.ts";
import { Catching } from "./brakes/catch.ts";
import { type Canary, Drills } from "./brakes/drill.ts";
import { Feed } from "./brakes/feed.ts";
import { defaultFleetRules, FleetCommands, type FleetRules } from "./brakes/fleet.ts";
import { GateRules } from "./brakes/gate-rules.ts";
import { Gates } from "./brakes/gates.ts";
import { isHeldNow } from "./brakes/held-now.ts";
import { Lifecycle } from "./brakes/lifecycle.ts";
import { Outages } from "./brakes/outages.ts";
import { PauseCommands } from "./brakes/pause.ts";
import { defaultReleaseRate } from "./brakes/reconciler/letting-go.ts";
import { Reconciler } from "./brakes/reconciler.ts";
import { settleIntents } from "./brakes/settle-intents.ts";
import { Workflows } from "./brakes/workflows.ts";
import type { Engine } from "./engines/engine.ts";
import type { GateConfig } from "./engines/gate/config.ts";
import { GateEngine } from "./engines/gate.ts";
import { EngineRegistry } from "./engines/registry.ts";
import { formatWorkflowId } from "./engines/workflow-id.ts";
import { createPort } from "./http/port.ts";
import type { TlsConfig } from "./http/tls.ts";
import { GateTokens } from "./identity/gate-tokens.ts";
import type { IssuerConfig } from "./identity/issuer.ts";
import { OperatorKeys, type OperatorKeysConfig } from "./identity/operator-keys.ts";
import { Revocations } from "./identity/revocations.ts";
import { createVerifier } from "./identity/verify.ts";
import { auditRefusal } from "./interceptors/audit-refusal.ts";
import { authenticator } from "./interceptors/authenticate.ts";
import { reachOf } from "./interceptors/authorize.ts";
import { createChain } from "./interceptors/chain.ts";
import { codeName } from "./interceptors/errors.ts";
import { Fallback, type FallbackState } from "./ledger/fallback.ts";
import { LateOutcomes } from "./ledger/late-outcomes.ts";
import { createLedger, type Ledger } from "./ledger/ledger.ts";
import { guarded, LedgerProofs } from "./ledger/proofs.ts";
import type { Publisher } from "./ledger/publisher.ts";
import { createRefusals, type RefusalLimits } from "./ledger/refusals.ts";
import { defaultRetentionMs, Retention } from "./ledger/retention.ts";
import { openStreams } from "./ledger/stream/open.ts";
import type { SinkConfig } from "./ledger/stream/sink.ts";
import type { LedgerStream } from "./ledger/stream/stream.ts";
import type { Logger } from "./log.ts";
import { Access } from "./policy/access.ts";
import { openPolicy } from "./policy/open.ts";
import { PolicyReload } from "./policy/reload.ts";
import type { RemoteConfig } from "./policy/remote.ts";
import { defaultRoles, type Roles } from "./policy/roles.ts";
import { accessService } from "./services/access.ts";
import { AiFirstHooks } from "./services/ai-first-hooks.ts";
import { auditLogService } from "./services/audit-log.ts";
import { BrakeTargets } from "./services/brake-targets.ts";
import { brakesService } from "./services/brakes.ts";
import { ControlService } from "./services/control.ts";
import { drillComponent } from "./services/drill.ts";
import { DrillSchedule, minDrillEveryMs } from "./services/drill-schedule.ts";
import { brakesComponent, tellEmergencies } from "./services/emergencies.ts";
import { EntrySight } from "./services/entry-sight.ts";
import { gateService } from "./services/gate.ts";
import { gateEngineComponent } from "./services/gate-engines.ts";
import { GateReports } from "./services/gate-reports.ts";
import { gateTokensService } from "./services/gate-tokens.ts";
import { type Component, HealthService } from "./services/health.ts";
import { Idempotency } from "./services/idempotency.ts";
import { issuerComponents } from "./services/issuers.ts";
import { Metrics } from "./services/metrics.ts";
import { missionControlService } from "./services/mission-control.ts";
import { embeddedPolicyComponent } from "./services/policy.ts";
import { revocationFileComponents, revocationsService } from "./services/revocations.ts";
import { tlsComponent } from "./services/tls.ts";
import { TokensInUse } from "./services/tokens-in-use.ts";
import { openSqlite } from "./store/sqlite.ts";
import type { Store } from "./store/store.ts";

/** A reconciler whose next full round has been due for this long is told as degraded, ms. */
const lateMs = 10_000;
/** How long a stream is degraded for an entry that its receiver rejected, ms. */
const leftOutToldMs = 60 * 60 * 1000;

/** What a server is made of. */
export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** The database's file. */
  readonly databasePath: string;
  /** The directory of the ledger's signing key; by default `ledger-key` beside the database. */
  readonly ledgerKeyDirectory?: string;
  /** Where checkpoints are published to as files; by default `checkpoints` beside the database, which is no second place. */
  readonly checkpointsDirectory?: string | undefined;
  /** Further places to publish checkpoints to. */
  readonly checkpointPublishers?: readonly Publisher[];
  /** Where the ledger is kept while its database cannot be written; undefined: then nothing is done. */
  readonly ledgerFallbackFile?: string | undefined;
  /** How long entries of the ledger are kept, ms; by default `defaultRetentionMs`. */
  readonly ledgerRetentionMs?: number | undefined;
  /** Where the ledger is streamed to; by default nowhere. */
  readonly ledgerStreams?: readonly SinkConfig[] | undefined;
  /** Why the server is to go on with a ledger that is not what was published; by default it does not. */
  readonly acknowledgeLedgerRollback?: string | undefined;
  /** The folder with *.cedar and the schema; without one, only the remotes decide. */
  readonly policiesDir?: string;
  /** Decision points to ask as well, over the network: all have to permit. */
  readonly policyRemotes?: readonly RemoteConfig[];
  readonly engines: readonly Engine[];
  /** Engines that are kept in the server's own store: what gates report. */
  readonly gateEngines?: readonly GateConfig[];
  readonly issuers: readonly IssuerConfig[];
  /** The keys with which callers sign their control calls, and who has to; by default there are none. */
  readonly operatorKeys?: OperatorKeysConfig | undefined;
  /** A file with revocations, read again when it changes; unset: those by call are all there are. */
  readonly revocationFile?: string | undefined;
  /** Parts beside the server's own that health looks at. */
  readonly components: readonly Component[];
  readonly version: string;
  readonly devMode: boolean;
  readonly log: Logger;
  /** The most workflows that each role may brake without a second person; by default `defaultBlastRadius`. */
  readonly blastRadius?: BlastRadius | undefined;
  /** The longest that a brake may hold, ms; by default until somebody releases it. */
  readonly longestBrakeMs?: number | undefined;
  /** How many may have come or gone between the asking for a brake and its approval; by default as in `defaultFleetRules`. */
  readonly driftTolerance?: FleetRules["tolerance"];
  /** How long an emergency above the radius may wait for its approval, ms; by default as in `defaultFleetRules`. */
  readonly approveWithinMs?: number;
  /** The most workflows that are let go in one second on each engine; by default `defaultReleaseRate`. */
  readonly releaseRate?: number;
  /** Roles and what they may do; by default `defaultRoles`. */
  readonly roles?: Roles | undefined;
  /** TLS on the port; undefined: without. */
  readonly tls?: TlsConfig | undefined;
  /** What differs from `defaultRefusalLimits`. */
  readonly refusalLimits?: Partial<RefusalLimits> | undefined;
  /** Whose pages may call from a browser, as exact origins; by default nobody's. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** The label that names a workflow's tenant; by default "tenant". */
  readonly tenantLabel?: string | undefined;
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
  /** The gate tokens, for who composes the server: the API's own are for callers. */
  readonly gateTokens: GateTokens;
  /** Ends streams and calls in flight, stops reconciling, writes what waits. What is braked stays braked. */
  close(graceMs?: number): Promise<void>;
}

/** The composition root: settles what a crash left open, makes the brakes true, then takes calls. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { log, canaries = [], gateEngines: gateConfigs = [], drillEveryMs } = options;
  if (drillEveryMs !== undefined && !(drillEveryMs >= minDrillEveryMs)) {
    throw new RangeError(`drillEveryMs is at least ${minDrillEveryMs}, not ${drillEveryMs}`);
  }
  const policy = await openPolicy({ dir: options.policiesDir, remotes: options.policyRemotes }, log);
  const engineNames = [...options.engines, ...gateConfigs].map((engine) => engine.name);
  const access = new Access(options.roles ?? defaultRoles, { tenantLabel: options.tenantLabel, engines: engineNames });
  const database = openSqlite(options.databasePath);
  const directory = dirname(options.databasePath);
  const proofs = await LedgerProofs.open({
    store: database,
    keyDirectory: options.ledgerKeyDirectory ?? join(directory, "ledger-key"),
    checkpointsDirectory: options.checkpointsDirectory ?? join(directory, "checkpoints"),
    publishers: options.checkpointPublishers ?? [],
    acknowledge: options.acknowledgeLedgerRollback,
    log,
  });
  const { ledgerFallbackFile: path } = options;
  // Reports wait for the database in memory: they are read from it, and the fallback is for what the brake needs.
  const kept = guarded(database, proofs);
  const fallback = path === undefined ? undefined : await Fallback.open({ store: kept, path, log });
  const store = fallback ? guarded(fallback.store, proofs) : kept;
  const gateEngines = await Promise.all(gateConfigs.map((config) => GateEngine.open(config.name, kept, log, config)));
  const allEngines: readonly Engine[] = [...options.engines, ...gateEngines];
  const engines = new EngineRegistry(allEngines);
  const ledger = createLedger(store, log);
  const keepMs = options.ledgerRetentionMs ?? defaultRetentionMs;
  const retention = new Retention({ store: kept, ledger, proofs, keepMs, log });
  const { version, ledgerStreams = [] } = options;
  const streams = openStreams(ledgerStreams, {
    ...{ store, directory: join(directory, "streams"), version, log },
    // Told in the log as well, where the ledger cannot be.
    onLeftOut: (message) =>
      void ledger.append({ phase: Phase.SYSTEM, action: "ledger.stream_left_out", message }).catch(() => undefined),
  });
  const refusals = createRefusals(ledger, log, options.refusalLimits);
  const lateOutcomes = new LateOutcomes({ ledger, log });
  // What stands is held all the same, but nothing is written on top of a ledger that somebody tampered with.
  if (proofs.fault === undefined) {
    await fallback?.mergeLeft();
    await recordStart(options, store, ledger, proofs, policy.embedded?.set.hash);
  }
  const reload = policy.embedded && new PolicyReload(policy.embedded, ledger, log);
  const { issuers, revocationFile: file } = options;
  const revocations = await Revocations.open({ store, ledger, issuers, file, log });
  const verifier = await createVerifier({
    issuers,
    roles: Object.keys(access.roles),
    log,
    insecureLoopback: options.devMode,
    revocations,
  });
  const brakes = await Brakes.open(store, ledger);
  const catching = new Catching(brakes);
  const outages = new Outages(engineNames, catching);
  for (const { name, runs } of gateEngines) {
    runs.holdBy(
      (workflow) => isHeldNow(brakes, catching, name, workflow),
      // What a brake has caught, its engine's reconciler lets go.
      (id) => brakes.on(formatWorkflowId(name, id)).length > 0,
    );
    brakes.onChange(() => runs.reconsider());
  }
  const gates = new Gates({ engines: engineNames, log });
  const gateReports = new Map(
    gateEngines
      .map((engine, index) => ({ ...(gateConfigs[index] as GateConfig), runs: engine.runs }))
      .filter(({ kind }) => kind === "gate")
      .map(({ name, runs, inputs }) => [name, new GateReports(runs, log, inputs)]),
  );
  const gateTokens = new GateTokens(store, ledger, engineNames);
  const gateRules = new GateRules(brakes, engines, catching, gates, log);
  const workflows = new Workflows(engines, brakes, store);
  const feed = new Feed(engines, workflows, brakes, log);
  const reconcilers = allEngines.map(
    (engine) =>
      new Reconciler(
        engine,
        brakes,
        catching,
        gateRules.of(engine.name),
        outages,
        options.releaseRate ?? defaultReleaseRate,
        log,
      ),
  );
  const pauses = new PauseCommands(brakes, engines, options.longestBrakeMs);
  const rules: FleetRules = {
    blastRadius: options.blastRadius ?? defaultFleetRules.blastRadius,
    longestMs: options.longestBrakeMs,
    tolerance: options.driftTolerance ?? defaultFleetRules.tolerance,
    approveWithinMs: options.approveWithinMs ?? defaultFleetRules.approveWithinMs,
  };
  const lifecycle = new Lifecycle(brakes, engines, rules.approveWithinMs, log);
  const commands = new FleetCommands(brakes, engines, catching, gates, outages, rules);
  const targets = new BrakeTargets(brakes, commands, access);
  const drillCommands = { brakes, engines, pauses, fleet: commands, gateRules };
  const drills = await Drills.open({ ...drillCommands, canaries, ledger, store, log });
  const schedule = new DrillSchedule(drills, ledger, log);
  const components: Component[] = [
    ...options.engines.map(engineComponent),
    ...gateEngines.map(gateEngineComponent),
    ...reconcilers.map(reconcilerComponent),
    {
      name: "ledger",
      check: () => {
        const fault = proofs.fault ?? ledger.fault;
        const late = lateOutcomes.count > 0 ? `; ${lateMessage(lateOutcomes.count)}` : "";
        if (fault) return { status: "unhealthy", message: `${fault.message}${late}` };
        const kept = fallback?.state;
        if (kept) return { status: "unhealthy", message: fallbackMessage(kept) };
        if (lateOutcomes.count > 0) return { status: "degraded", message: lateMessage(lateOutcomes.count) };
        if (proofs.checkpointFault) return { status: "degraded", message: proofs.checkpointFault };
        return { status: "healthy", message: "writable" };
      },
    },
    ...streams.map(streamComponent),
    ...issuerComponents(verifier),
    ...revocationFileComponents(revocations),
    brakesComponent(brakes),
    ...(reload ? [embeddedPolicyComponent(reload)] : []),
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
    RevocationsDescriptor,
    Gate,
    GateTokensDescriptor,
    AccessDescriptor,
    MetricsDescriptor,
    ReflectionV1,
    ReflectionV1Alpha,
  ];
  const metrics = new Metrics({
    services,
    engines: engineNames,
    brakes,
    reconcilers,
    gates,
    ledger,
    store,
    fallback,
    streams,
    drills,
  });
  const chain = createChain({
    services,
    log,
    ledger,
    refusals,
    lateOutcomes,
    verifier,
    gateTokens,
    operatorKeys: new OperatorKeys(options.operatorKeys),
    access,
    policy,
    resolveTarget: (workflowId, sight, signal) => workflows.get(workflowId, signal, sight),
    resolveBrake: (call, signal) => targets.factsOf(call, signal),
    ended: (call, code) => metrics.ended(call, code),
  });
  const hooks = new AiFirstHooks(
    gateEngines.map(({ name, runs }) => ({ config: gateConfigs.find((one) => one.name === name) as GateConfig, runs })),
    (action, workflowId, message) => brakes.record(action, workflowId, message),
  );
  const tokensInUse = new TokensInUse(gateTokens);
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
          outages,
          gateRules,
          workflows,
          drills,
          store,
          idempotency,
          policy,
          access,
        }),
      );
      const sight = new EntrySight(brakes, workflows, store);
      router.service(AuditLog, auditLogService(store, proofs, sight));
      router.service(RevocationsDescriptor, revocationsService(revocations));
      router.service(Gate, gateService(gates, gateReports));
      router.service(GateTokensDescriptor, gateTokensService(gateTokens, gates));
      // Gates have tokens in place of roles.
      const methods = services.filter((service) => service !== Gate).flatMap((service) => service.methods);
      router.service(AccessDescriptor, accessService({ access, policy, targets, methods }));
    },
    interceptors: chain.map((link) => link.interceptor),
    authenticate: authenticator(verifier.verify, gateTokens),
    ready: () => {
      const faults = reconcilers.flatMap(({ state }) =>
        state.fault ? [`${state.engine}: ${state.fault.message}`] : [],
      );
      const fault = proofs.fault ?? ledger.fault;
      if (fault) faults.push(`ledger: ${fault.message}`);
      return faults.length === 0 ? true : faults;
    },
    hooks: (call, secret, body, signal) =>
      tokensInUse.use(secret, signal, async (principal, standing) => {
        call.principal = principal;
        return hooks.answer(principal.gateEngine ?? "", await body(), standing);
      }),
    onRefused: (call, error) => {
      metrics.ended(call, codeName(error.code));
      return recordRefusal(call, error);
    },
    metrics: (call) => metrics.text(reachOf(call)),
    tls: options.tls,
    corsOrigins: options.corsOrigins,
    log,
  });
  const stopTelling = tellEmergencies(brakes, log);
  proofs.start();
  if (proofs.fault === undefined) retention.start();
  fallback?.start();
  for (const stream of streams) stream.start();
  for (const reconciler of reconcilers) reconciler.start();
  lifecycle.start();
  gateRules.start((engine) => {
    for (const reconciler of reconcilers) if (reconciler.state.engine === engine) reconciler.wake();
  });
  if (drillEveryMs !== undefined) schedule.start(drillEveryMs);
  reload?.start();

  const close = async (graceMs?: number) => {
    await Promise.all([port.close(graceMs), feed.close(), drills.stop(), schedule.stop()]);
    await Promise.all([lifecycle.stop(), gateRules.stop(), ...reconcilers.map((reconciler) => reconciler.stop())]);
    stopTelling();
    verifier.close();
    await revocations.close();
    await reload?.stop();
    metrics.close();
    policy.close();
    await refusals.close();
    await lateOutcomes.close();
    for (const engine of gateEngines) await engine.close();
    await ledger.append({ phase: Phase.SYSTEM, action: "server.stopped" }).catch(() => undefined);
    await fallback?.close();
    await retention.stop();
    await Promise.all(streams.map((stream) => stream.stop()));
    await proofs.stop();
    await store.close();
    // Whoever waits for leave to go on is told nothing: the next start holds them again.
    port.end();
  };
  try {
    // A gate that comes back holds by what it knew: it is to get no set before there is one.
    await gateRules.sync();
    return { ...(await port.listen()), gateTokens, close };
  } catch (error) {
    await close(0);
    throw error;
  }
}

/** Settles what a crash left open, and writes that the server started: on what kind of ledger, by which policies, too. */
async function recordStart(
  options: ServerOptions,
  store: Store,
  ledger: Ledger,
  { acknowledged }: LedgerProofs,
  policySetHash: string | undefined,
): Promise<void> {
  const { version, devMode, plaintextBecause, acknowledgeLedgerRollback: acknowledge } = options;
  const system = { phase: Phase.SYSTEM } as const;
  if (acknowledged) {
    const { found: message, reason } = acknowledged;
    await ledger.append({ ...system, action: "ledger.rollback_acknowledged", message, reason });
  }
  const settled = await settleIntents(store, ledger);
  const message =
    `version ${version}${devMode ? ", dev mode" : ""}; ${settled} open intents settled` +
    (policySetHash === undefined ? "; no embedded policies" : `; policy set ${policySetHash}`) +
    (plaintextBecause === undefined ? "" : `; without TLS: ${plaintextBecause}`) +
    (acknowledge === undefined ? "" : `; going on where witnesses have seen a larger ledger: ${acknowledge}`);
  await ledger.append({ ...system, action: "server.started", message });
}

function streamComponent(stream: LedgerStream): Component {
  return {
    name: `ledger/stream/${stream.name}`,
    check: () => {
      const { fault, behind, leftOut } = stream;
      const waiting = `${behind} entries wait to be streamed`;
      if (fault) return { status: "degraded", message: `${waiting}: ${fault}` };
      if (leftOut === undefined) return { status: "healthy", message: waiting };
      const isNew = Date.now() - leftOut.time.getTime() < leftOutToldMs;
      const message = `${waiting}; ${leftOut.count} were rejected and left out, the last at ${leftOut.time.toISOString()}`;
      return { status: isNew ? "degraded" : "healthy", message };
    },
  };
}

function fallbackMessage({ since, because, entries }: FallbackState): string {
  return (
    `since ${since.toISOString()} the database cannot be written (${because}): ${entries} entries are in the fallback file ` +
    "only, and are merged once it can"
  );
}

function lateMessage(count: number): string {
  return `${count} calls have ended, and their intents stay open until their outcomes can be written`;
}

function engineComponent(engine: Engine): Component {
  return {
    name: `engine/${engine.name}`,
    engine: engine.name,
    check: async (signal) => ({ status: "healthy", message: `version ${(await engine.probe(signal)).version}` }),
  };
}

function reconcilerComponent(reconciler: Reconciler): Component {
  return {
    name: `reconciler/${reconciler.state.engine}`,
    engine: reconciler.state.engine,
    check: () => {
      const { fault, roundMs, lagMs } = reconciler.state;
      if (fault) return { status: "unhealthy", message: `since ${fault.since.toISOString()}: ${fault.message}` };
      if (lagMs > lateMs) return { status: "degraded", message: `a full round has been due for ${lagMs} ms` };
      return { status: "healthy", message: `last round ${roundMs} ms, due for ${lagMs} ms` };
    },
  };
}
