import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { pino } from "pino";
import { ServerReflection as ReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type AuditEntry, AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations as RevocationsDescriptor } from "../../gen/missioncontrol/v1/revocations_pb.ts";
import { createPort, type PortOptions } from "../../src/http/port.ts";
import { GateTokens } from "../../src/identity/gate-tokens.ts";
import type { IssuerConfig } from "../../src/identity/issuer.ts";
import { Revocations } from "../../src/identity/revocations.ts";
import { createVerifier, type Verifier } from "../../src/identity/verify.ts";
import { auditRefusal } from "../../src/interceptors/audit-refusal.ts";
import { authenticator } from "../../src/interceptors/authenticate.ts";
import { createChain } from "../../src/interceptors/chain.ts";
import { LateOutcomes } from "../../src/ledger/late-outcomes.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createRefusals } from "../../src/ledger/refusals.ts";
import { Access } from "../../src/policy/access.ts";
import { openPolicy } from "../../src/policy/open.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { revocationsService } from "../../src/services/revocations.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { noFlood } from "../fixture/refusals.ts";

/** The real port, chain, ledger, verifier and revocations; the other services only note that they were reached. */
export interface IdentityPort {
  readonly url: string;
  readonly number: number;
  readonly verifier: Verifier;
  readonly revocations: Revocations;
  readonly store: Store;
  /** RPCs of other services that ran. */
  readonly reached: string[];
  /** Everything that was logged as a warning or worse. */
  readonly lines: string[];
  /** What the ledger has, of a call or of all, the oldest entry first. */
  entries(callId?: string): Promise<AuditEntry[]>;
  /** Shuts it down; the database stays for `startIdentityPort({ dir })`, unless it is the end. */
  close(keep?: "keep"): Promise<void>;
  readonly dir: string;
}

export interface IdentityPortOptions {
  readonly issuers: readonly IssuerConfig[];
  readonly access?: Access;
  readonly file?: string;
  /** Where the ledger is, of one before; by default a new place. */
  readonly dir?: string;
  readonly tls?: PortOptions["tls"];
}

export async function startIdentityPort(options: IdentityPortOptions): Promise<IdentityPort> {
  const {
    issuers,
    access = new Access(defaultRoles),
    dir = mkdtempSync(join(tmpdir(), "mc-identity-")),
    file,
    tls,
  } = options;
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
  const store = openSqlite(join(dir, "ledger.db"));
  const ledger = createLedger(store, log);
  const gateTokens = new GateTokens(store, ledger, []);
  const refusals = createRefusals(ledger, log, noFlood);
  const revocations = await Revocations.open({ store, ledger, issuers, file, log });
  const known = Object.keys(defaultRoles);
  const verifier = await createVerifier({ issuers, roles: known, log, revocations, insecureLoopback: true });
  const policy = await openPolicy({ dir: join(import.meta.dirname, "../../policies") }, log);
  const reached: string[] = [];
  const others = [MissionControl, Brakes, AuditLog];
  const services = [...others, RevocationsDescriptor];
  const chain = createChain({
    services: [...services, ReflectionV1, ReflectionV1Alpha],
    log,
    ledger,
    refusals,
    lateOutcomes: new LateOutcomes({ ledger, log }),
    verifier,
    gateTokens,
    access,
    policy,
    resolveBrake: async () => undefined,
    resolveTarget: async () => {
      throw new Error("no workflow is known here");
    },
  });
  const noting = (service: DescService) =>
    Object.fromEntries(
      service.methods.map(({ localName, name, methodKind }) => {
        const note = () => reached.push(name) && {};
        /** Goes on until its client leaves. */
        async function* stream(_: unknown, { signal }: { signal: AbortSignal }) {
          yield note();
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        }
        return [localName, methodKind === "unary" ? note : stream];
      }),
    );
  const port = await createPort({
    host: "127.0.0.1",
    port: 0,
    routes: (router: ConnectRouter) => {
      for (const service of others) router.service(service, noting(service) as never);
      router.service(RevocationsDescriptor, revocationsService(revocations));
    },
    interceptors: chain.map(({ interceptor }) => interceptor),
    authenticate: authenticator(verifier.verify, gateTokens),
    ready: () => true,
    onRefused: auditRefusal(refusals, services),
    log,
    ...(tls && { tls }),
  });
  const { port: number } = await port.listen();
  return {
    url: `http://127.0.0.1:${number}`,
    number,
    verifier,
    revocations,
    store,
    reached,
    lines,
    entries: async (callId) => (await store.listEntries({ callId, limit: 1000 })).entries.reverse(),
    async close(keep) {
      await port.close(0);
      verifier.close();
      policy.close();
      await revocations.close();
      await store.close();
      if (keep === undefined) rmSync(dir, { recursive: true, force: true });
    },
    dir,
  };
}
