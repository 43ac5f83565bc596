import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ConnectError, createContextValues, type ServiceImpl, type Transport } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { pino } from "pino";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { type AuditEntry, AuditEntry_PhaseSchema, AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { MissionControlError } from "../../src/errors.ts";
import { type DevToken, openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { GateTokens } from "../../src/identity/gate-tokens.ts";
import { createVerifier } from "../../src/identity/verify.ts";
import { type ChainDeps, createChain } from "../../src/interceptors/chain.ts";
import { type Call, callKey } from "../../src/interceptors/context.ts";
import { LateOutcomes } from "../../src/ledger/late-outcomes.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createRefusals } from "../../src/ledger/refusals.ts";
import { Access } from "../../src/policy/access.ts";
import { openPolicy } from "../../src/policy/open.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { noFlood } from "../fixture/refusals.ts";

export const protocols = ["grpc", "grpc-web", "connect"] as const;
export type Protocol = (typeof protocols)[number];
const transports = { grpc: createGrpcTransport, "grpc-web": createGrpcWebTransport, connect: createConnectTransport };

/** The workflow that the server under test knows; the engine's own id does for its name. */
export const workflow = create(WorkflowSchema, {
  workflowId: "restate:inv_1",
  engine: "restate",
  type: "RefundAgent",
  status: Workflow_Status.RUNNING,
});

export type Handlers = Partial<ServiceImpl<typeof MissionControl>>;

/**
 * The chain in front of handlers that only note that they ran, on real parts: sockets, SQLite, signed tokens, the shipped
 * policies. `deps` replaces parts of the chain.
 */
export async function startServer(options: { handlers?: Handlers; deps?: Partial<ChainDeps> } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "mc-chain-"));
  const databasePath = join(dir, "ledger.db");
  const store = openSqlite(databasePath);
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
  const issuer = await openDevIssuer(dir);
  const ledger = createLedger(store, log);
  const refusals = createRefusals(ledger, log, noFlood);
  const lateOutcomes = new LateOutcomes({ ledger, log, retryMs: 20 });
  const executed: string[] = [];
  const calls: Call[] = [];
  const verifier = await createVerifier({ issuers: [issuer.config], roles: Object.keys(defaultRoles), log });
  const chain = createChain({
    services: [MissionControl, AuditLog, ServerReflection],
    log,
    ledger,
    refusals,
    lateOutcomes,
    verifier,
    gateTokens: new GateTokens(store, ledger, []),
    access: new Access(defaultRoles),
    policy: await openPolicy({ dir: join(import.meta.dirname, "../../policies") }, log),
    resolveTarget: async (id) => {
      if (id === "restate:inv_1" || id === "inv_1") return workflow;
      throw new MissionControlError("WORKFLOW_NOT_FOUND", `no engine knows ${id}`);
    },
    resolveBrake: async () => undefined,
    ...options.deps,
  });
  const ran = (name: string) => () => {
    executed.push(name);
    return {};
  };
  const handlers: ServiceImpl<typeof MissionControl> = {
    listWorkflows: ran("list"),
    getWorkflow: ran("get"),
    getWorkflowTrace: ran("trace"),
    async *watchWorkflows() {
      executed.push("watch");
      yield {};
    },
    pauseWorkflow: ran("pause"),
    resumeWorkflow: ran("resume"),
    getHealth: ran("health"),
    ...options.handlers,
  };
  const adapter = connectNodeAdapter({
    interceptors: chain.map(({ interceptor }) => interceptor),
    routes: (router) =>
      router
        .service(MissionControl, handlers)
        .service(AuditLog, { listAuditEntries: ran("audit"), eraseSubject: ran("erase") })
        .service(ServerReflection, {
          async *serverReflectionInfo(requests) {
            executed.push("reflection");
            for await (const request of requests) yield { originalRequest: request };
          },
        }),
    contextValues: (req) => {
      const type = String(req.headers["content-type"]);
      const call: Call = {
        id: String(req.headers["x-request-id"] ?? randomUUID()),
        protocol: type.startsWith("application/grpc-web") ? "grpc-web" : type.includes("grpc") ? "grpc" : "connect",
        method: "",
        startTime: Date.now(),
        source: "127.0.0.1",
        clientCertificateThumbprint: undefined,
        audited: false,
      };
      calls.push(call);
      return createContextValues().set(callKey, call);
    },
  });
  const server: Http2Server = createServer(adapter);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    store,
    ledger,
    refusals,
    lateOutcomes,
    databasePath,
    executed,
    calls,
    lines,
    transport: (protocol: Protocol = "grpc"): Transport => transports[protocol]({ baseUrl, httpVersion: "2" }),
    sign: issuer.signDevToken,
    /** Headers with a token for the role. */
    async as(role: string, more: Partial<DevToken> = {}): Promise<{ headers: { authorization: string } }> {
      const token = await issuer.signDevToken({ subject: "alice", roles: [role], expiresIn: 60, ...more });
      return { headers: { authorization: `Bearer ${token}` } };
    },
    /** All entries, the oldest first. */
    entries: async (): Promise<AuditEntry[]> => (await store.listEntries({ limit: 1000 })).entries.reverse(),
    async close() {
      for (const session of sessions) session.destroy();
      server.close();
      verifier.close();
      await lateOutcomes.close();
      await store.close();
      await rm(dir, { recursive: true });
    },
  };
}

export type TestServer = Awaited<ReturnType<typeof startServer>>;

/** "PERMISSION_DENIED ROLE_DENIED" of a call that has to fail. */
export async function failure(call: Promise<unknown>): Promise<ConnectError & { reason: string | undefined }> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) throw new Error(`expected a failure, got ${String(error)}`);
  return Object.assign(error, { reason: error.findDetails(ErrorInfoSchema)[0]?.reason });
}

/** The entry's phase by name, with how it ended. */
export function told(entry: AuditEntry): string {
  const phase = AuditEntry_PhaseSchema.value[entry.phase]?.name;
  return [phase, entry.action, entry.resultCode, entry.errorReason].filter((part) => part !== "").join(" ");
}
