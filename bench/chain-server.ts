import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor, ServiceImpl } from "@connectrpc/connect";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status, WorkflowSchema } from "../gen/missioncontrol/v1/workflow_pb.ts";
import { createPort } from "../src/http/port.ts";
import { openDevIssuer } from "../src/identity/dev-issuer.ts";
import { GateTokens } from "../src/identity/gate-tokens.ts";
import { Revocations } from "../src/identity/revocations.ts";
import { createVerifier } from "../src/identity/verify.ts";
import { type Authenticate, authenticator } from "../src/interceptors/authenticate.ts";
import { createChain } from "../src/interceptors/chain.ts";
import { callOf } from "../src/interceptors/context.ts";
import { LateOutcomes } from "../src/ledger/late-outcomes.ts";
import { createLedger } from "../src/ledger/ledger.ts";
import { createRefusals } from "../src/ledger/refusals.ts";
import { createLog } from "../src/log.ts";
import { Access } from "../src/policy/access.ts";
import { openPolicy } from "../src/policy/open.ts";
import { Reach } from "../src/policy/reach.ts";
import { defaultRoles } from "../src/policy/roles.ts";
import { openSqlite } from "../src/store/sqlite.ts";

/** What the bench does without: who calls, whether they may, what policy says. */
const left = ["authenticate", "authorize", "policy"];

const workflow = create(WorkflowSchema, {
  workflowId: "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI",
  engine: "restate",
  type: "RefundAgent",
  name: "RefundAgent/run",
  status: Workflow_Status.RUNNING,
  owner: "payments-team",
  labels: { owner: "payments-team", risk: "low", team: "payments", service: "RefundAgent", handler: "run" },
});

/**
 * The port with its whole chain, with the ledger on disk and the shipped policies, or the same without identity, roles and
 * Cedar. What it serves costs nothing: the workflow is at hand, and no engine is asked.
 */
export async function startChain(whole: boolean): Promise<{ url: string; token: string; close(): Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), "mc-bench-"));
  const log = createLog("silent");
  const store = openSqlite(join(dir, "ledger.db"));
  const ledger = createLedger(store, log);
  const refusals = createRefusals(ledger, log);
  const lateOutcomes = new LateOutcomes({ ledger, log });
  const issuer = await openDevIssuer(dir);
  const issuers = [issuer.config];
  const revocations = await Revocations.open({ store, ledger, issuers, log });
  const verifier = await createVerifier({ issuers, roles: Object.keys(defaultRoles), log, revocations });
  const gateTokens = new GateTokens(store, ledger, []);
  const access = new Access(defaultRoles);
  const policy = await openPolicy({ dir: join(import.meta.dirname, "../policies") }, log);
  const chain = createChain({
    services: [MissionControl],
    ...{ log, ledger, refusals, lateOutcomes, verifier, gateTokens, access, policy },
    resolveTarget: async () => workflow,
    resolveBrake: async () => undefined,
  });
  const token = await issuer.signDevToken({ subject: "alice", roles: ["sre_admin"], expiresIn: 3600 });
  const principal = await verifier.verify(token);
  const trusting: Interceptor = (next) => (req) => {
    const call = callOf(req.contextValues);
    call.principal = principal;
    call.reach = Reach.everything;
    return next(req);
  };
  const trustingPort: Authenticate = async (call) => {
    call.principal = principal;
    return principal;
  };
  const links = chain.filter(({ name }) => whole || !left.includes(name)).map(({ interceptor }) => interceptor);
  // The links behind need to know who calls: with nobody to find that out, somebody is put in.
  const interceptors = whole
    ? links
    : links.toSpliced(
        chain.findIndex(({ name }) => name === "authenticate"),
        0,
        trusting,
      );
  const nothing = () => ({});
  const handlers: ServiceImpl<typeof MissionControl> = {
    listWorkflows: nothing,
    getWorkflow: () => ({ workflow }),
    getWorkflowTrace: nothing,
    async *watchWorkflows() {
      yield {};
    },
    pauseWorkflow: nothing,
    resumeWorkflow: nothing,
    getHealth: nothing,
  };
  const port = await createPort({
    host: "127.0.0.1",
    port: 0,
    routes: (router: ConnectRouter) => void router.service(MissionControl, handlers),
    interceptors,
    authenticate: whole ? authenticator(verifier.verify, gateTokens) : trustingPort,
    ready: () => true,
    onRefused: async () => undefined,
    log,
  });
  const { port: number } = await port.listen();
  return {
    url: `http://127.0.0.1:${number}`,
    token,
    async close() {
      await port.close(0);
      verifier.close();
      policy.close();
      await revocations.close();
      await refusals.close();
      await store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
