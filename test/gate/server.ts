import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as ReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Gate } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { type AuditEntry, AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { GateLimits } from "../../src/brakes/gate-attachment.ts";
import { type GateRule, Gates } from "../../src/brakes/gates.ts";
import type { InputsConfig } from "../../src/engines/gate/inputs.ts";
import { GateEngine } from "../../src/engines/gate.ts";
import { createPort } from "../../src/http/port.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { GateTokens } from "../../src/identity/gate-tokens.ts";
import { createVerifier } from "../../src/identity/verify.ts";
import { auditRefusal } from "../../src/interceptors/audit-refusal.ts";
import { authenticator } from "../../src/interceptors/authenticate.ts";
import { createChain } from "../../src/interceptors/chain.ts";
import { LateOutcomes } from "../../src/ledger/late-outcomes.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createRefusals } from "../../src/ledger/refusals.ts";
import { createLog } from "../../src/log.ts";
import { Access } from "../../src/policy/access.ts";
import { openPolicy } from "../../src/policy/open.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { gateService } from "../../src/services/gate.ts";
import { GateReports } from "../../src/services/gate-reports.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { noFlood } from "../fixture/refusals.ts";

/** The real port, chain, ledger and Gate service over a real hub; the other services only note that they were reached. */
export interface GateServer {
  readonly url: string;
  /** The hub; another one after each start. */
  readonly gates: Gates;
  /** What gates of engine "agents" report to; another one after each start. */
  readonly agents: GateEngine;
  /** RPCs of other services that were reached. */
  readonly reached: string[];
  readonly gateTokens: GateTokens;
  /** A new gate token, of engine "restate" unless another is named; it ends by itself after so many ms, or never. */
  token(expiresInMs?: number, engine?: string): Promise<string>;
  /** A token of a person, or whoever the issuer vouches for. */
  jwt(...roles: string[]): Promise<string>;
  /** The ledger, the oldest entry first. */
  entries(): Promise<AuditEntry[]>;
  /**
   * Stops it as its process would; `start` has it serve again, on the same port, with these rules for the gates of "agents" from its
   * beginning on, and what they tell of inputs kept so.
   */
  close(): Promise<void>;
  start(rules?: readonly GateRule[], inputs?: InputsConfig): Promise<void>;
  stop(): Promise<void>;
}

export async function startGateServer(limits: Partial<GateLimits> = {}): Promise<GateServer> {
  const dir = mkdtempSync(join(tmpdir(), "mc-gate-"));
  const log = createLog("silent");
  const store = openSqlite(join(dir, "ledger.db"));
  const ledger = createLedger(store, log);
  const refusals = createRefusals(ledger, log, noFlood);
  const issuer = await openDevIssuer(dir);
  const gateTokens = new GateTokens(store, ledger, ["restate", "agents", "other"]);
  let made = 0;
  const reached: string[] = [];
  const others = [MissionControl, AuditLog, Brakes];
  const verifier = await createVerifier({ issuers: [issuer.config], roles: Object.keys(defaultRoles), log });
  const chain = createChain({
    services: [Gate, ...others, ReflectionV1, ReflectionV1Alpha],
    log,
    ledger,
    refusals,
    lateOutcomes: new LateOutcomes({ ledger, log }),
    verifier,
    gateTokens,
    access: new Access(defaultRoles),
    policy: await openPolicy({ dir: join(import.meta.dirname, "../../policies") }, log),
    resolveTarget: async () => {
      throw new Error("no workflow is known here");
    },
    resolveBrake: async () => undefined,
  });
  const engines = ["restate", "agents"];
  let gates = new Gates({ engines, log, limits });
  let agents = await GateEngine.open("agents", store, log);
  const noting = (service: DescService) =>
    Object.fromEntries(service.methods.map(({ localName, name }) => [localName, () => reached.push(name) && {}]));
  const listen = async (port: number, rules: readonly GateRule[] = [], inputs?: InputsConfig) => {
    gates = new Gates({ engines, log, limits });
    gates.setRules("agents", rules);
    const reports = new Map([["agents", new GateReports(agents.runs, log, inputs)]]);
    const opened = await createPort({
      host: "127.0.0.1",
      port,
      routes: (router: ConnectRouter) => {
        router.service(Gate, gateService(gates, reports));
        for (const service of others) router.service(service, noting(service) as never);
      },
      interceptors: chain.map(({ interceptor }) => interceptor),
      authenticate: authenticator(verifier.verify, gateTokens),
      ready: () => true,
      onRefused: auditRefusal(refusals),
      log,
    });
    const listening = await opened.listen();
    return { ...opened, port: listening.port };
  };
  let current = await listen(0);
  const { port } = current;
  return {
    url: `http://127.0.0.1:${port}`,
    get gates() {
      return gates;
    },
    get agents() {
      return agents;
    },
    reached,
    gateTokens,
    async token(expiresInMs, engine = "restate") {
      const name = made++ === 0 ? "worker" : `worker-${made}`;
      const change = { subject: "alice", reason: "test", entryId: "" };
      return (await gateTokens.create({ name, engine, expiresInMs }, change)).secret;
    },
    jwt: (...roles) => issuer.signDevToken({ subject: "alice", roles, expiresIn: 3600 }),
    entries: async () => (await store.listEntries({ limit: 1000 })).entries.reverse(),
    async close() {
      await current.close(200);
      await agents.close();
    },
    async start(rules, inputs) {
      agents = await GateEngine.open("agents", store, log);
      current = await listen(port, rules, inputs);
    },
    async stop() {
      await current.close(200);
      await agents.close();
      verifier.close();
      await store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
