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
import { createPort } from "../../src/http/port.ts";
import type { Verifier } from "../../src/identity/verify.ts";
import { auditRefusal } from "../../src/interceptors/audit-refusal.ts";
import { authenticator } from "../../src/interceptors/authenticate.ts";
import { createChain } from "../../src/interceptors/chain.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createRefusals } from "../../src/ledger/refusals.ts";
import { Access } from "../../src/policy/access.ts";
import { openPolicy } from "../../src/policy/open.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { noFlood } from "../fixture/refusals.ts";

/** The real port, chain and ledger behind a verifier; the services only note that they were reached. */
export interface IdentityPort {
  readonly url: string;
  readonly number: number;
  /** RPCs that ran. */
  readonly reached: string[];
  /** Everything that was logged. */
  readonly lines: string[];
  /** What the ledger has of a call, the oldest entry first. */
  entries(callId: string): Promise<AuditEntry[]>;
  close(): Promise<void>;
}

export async function startIdentityPort(verifier: Verifier): Promise<IdentityPort> {
  const dir = mkdtempSync(join(tmpdir(), "mc-identity-"));
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
  const store = openSqlite(join(dir, "ledger.db"));
  const ledger = createLedger(store, log);
  const refusals = createRefusals(ledger, log, noFlood);
  const reached: string[] = [];
  const services = [MissionControl, Brakes, AuditLog];
  const chain = createChain({
    services: [...services, ReflectionV1, ReflectionV1Alpha],
    log,
    ledger,
    refusals,
    verifier,
    access: new Access(defaultRoles),
    policy: await openPolicy({ dir: join(import.meta.dirname, "../../policies") }, log),
    resolveTarget: async () => {
      throw new Error("no workflow is known here");
    },
    resolveBrake: async () => undefined,
  });
  const noting = (service: DescService) =>
    Object.fromEntries(service.methods.map(({ localName, name }) => [localName, () => reached.push(name) && {}]));
  const port = await createPort({
    host: "127.0.0.1",
    port: 0,
    routes: (router: ConnectRouter) => {
      for (const service of services) router.service(service, noting(service) as never);
    },
    interceptors: chain.map(({ interceptor }) => interceptor),
    authenticate: authenticator(verifier.verify),
    ready: () => true,
    onRefused: auditRefusal(refusals, services),
    log,
  });
  const { port: number } = await port.listen();
  return {
    url: `http://127.0.0.1:${number}`,
    number,
    reached,
    lines,
    entries: async (callId) => (await store.listEntries({ callId, limit: 100 })).entries.reverse(),
    async close() {
      await port.close(0);
      await store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
