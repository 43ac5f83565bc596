import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectError, ConnectRouter, Interceptor, ServiceImpl } from "@connectrpc/connect";
import { pino } from "pino";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import {
  ComponentHealth_Status,
  WatchWorkflowsResponse_Kind as Kind,
  MissionControl,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { MissionControlError } from "../../src/errors.ts";
import { createPort, type Port, type PortOptions } from "../../src/http/port.ts";
import type { Principal } from "../../src/identity/principal.ts";
import { type Call, callKey } from "../../src/interceptors/context.ts";
import { errorLink } from "../../src/interceptors/errors.ts";

/** A token that the guard lets pass. Nobody here verifies it. */
export const token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
export const bearer = { authorization: `Bearer ${token}` };

/** Whoever calls: nobody here looks. */
const nobody: Principal = {
  issuer: "",
  subject: "nobody",
  roles: [],
  tokenId: "",
  issueTime: 0,
  expireTime: Number.MAX_SAFE_INTEGER,
  authenticationMethod: "jwt",
};

/** A workflow that is never there. */
export const missing = "restate:inv_missing";

export interface Fixture {
  readonly port: Port;
  readonly url: string;
  readonly number: number;
  /** What reached the services: the RPC's name and its request. */
  readonly requests: { method: string; request: unknown }[];
  /** What reached the chain. */
  readonly chained: Call[];
  /** What was refused before it. */
  readonly refused: { call: Call; error: ConnectError }[];
  /** Streams that are open now. */
  streams(): number;
}

export interface FixtureOptions extends Partial<PortOptions> {
  /** Messages that WatchWorkflows sends after its snapshot, before it waits for its end. */
  readonly changes?: number;
  /** Bytes of text in each of them. */
  readonly changeBytes?: number;
  /** True: WatchWorkflows pays no attention to its signal. */
  readonly deaf?: boolean;
}

/** A port on a free number with a small MissionControl behind it, and a chain that marks its calls as recorded. */
export async function startPort(options: FixtureOptions = {}): Promise<Fixture> {
  const requests: Fixture["requests"] = [];
  const chained: Call[] = [];
  const refused: Fixture["refused"] = [];
  let streams = 0;
  const log = pino({ level: "silent" });

  const workflow = (workflowId: string) =>
    create(WorkflowSchema, {
      workflowId,
      status: Workflow_Status.RUNNING,
      createTime: timestampFromMs(1_700_000_000_000),
    });
  const missionControl: ServiceImpl<typeof MissionControl> = {
    listWorkflows: (request) => {
      requests.push({ method: "ListWorkflows", request });
      return { workflows: [workflow("restate:inv_1")] };
    },
    getWorkflow: (request) => {
      requests.push({ method: "GetWorkflow", request });
      if (request.workflowId === missing) {
        throw new MissionControlError("WORKFLOW_NOT_FOUND", `no engine knows ${missing}`, {
          metadata: { workflow_id: missing },
        });
      }
      return request.workflowId === "restate:inv_empty" ? {} : { workflow: workflow(request.workflowId) };
    },
    getWorkflowTrace: (request) => {
      requests.push({ method: "GetWorkflowTrace", request });
      return { workflow: workflow(request.workflowId) };
    },
    async *watchWorkflows(request, { signal }) {
      requests.push({ method: "WatchWorkflows", request });
      if (request.type.includes("broken")) throw new MissionControlError("SLOW_CONSUMER", "too slow");
      streams++;
      try {
        yield { kind: Kind.SNAPSHOT_BEGIN };
        yield { kind: Kind.SNAPSHOT, workflow: workflow("restate:inv_1") };
        yield { kind: Kind.SNAPSHOT_END, resumeToken: "7" };
        const filler = "x".repeat(options.changeBytes ?? 0);
        for (let i = 0; i < (options.changes ?? 0); i++) {
          yield {
            kind: Kind.CHANGED,
            resumeToken: `${8 + i}`,
            workflow: { workflowId: "restate:inv_1", errorMessage: filler },
          };
        }
        if (request.type.includes("breaks")) throw new MissionControlError("SLOW_CONSUMER", "too slow");
        if (request.type.includes("ends")) return;
        if (options.deaf) await new Promise(() => {});
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      } finally {
        streams--;
      }
    },
    pauseWorkflow: async (request, { signal }) => {
      requests.push({ method: "PauseWorkflow", request });
      if (request.reason === "hang") {
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      }
      return { workflowId: request.workflowId, action: "pause", newStatus: Workflow_Status.PAUSED };
    },
    resumeWorkflow: (request) => {
      requests.push({ method: "ResumeWorkflow", request });
      return { workflowId: request.workflowId, action: "resume", newStatus: Workflow_Status.RUNNING };
    },
    getHealth: () => ({ status: ComponentHealth_Status.HEALTHY, version: "test" }),
  };
  const auditLog: ServiceImpl<typeof AuditLog> = {
    listAuditEntries: (request) => {
      requests.push({ method: "ListAuditEntries", request });
      return { entries: [] };
    },
    followAuditEntries: async function* () {},
    getAuditReceipt: () => ({}),
    getCheckpoint: () => ({}),
    rotateLedgerKey: () => ({}),
    exportAuditEntries: async function* () {},
    eraseSubject: (request) => {
      requests.push({ method: "EraseSubject", request });
      return {};
    },
  };
  const recorded: Interceptor = (next) => (req) => {
    const call = req.contextValues.get(callKey);
    if (call === undefined) throw new Error("the port set no call");
    call.audited = true;
    chained.push(call);
    return next(req);
  };

  const port = await createPort({
    host: "127.0.0.1",
    port: 0,
    routes: (router: ConnectRouter) => router.service(MissionControl, missionControl).service(AuditLog, auditLog),
    interceptors: [errorLink(log), recorded],
    authenticate: async () => nobody,
    ready: () => true,
    onRefused: async (call, error) => {
      refused.push({ call, error });
      call.audited = true;
    },
    log,
    ...options,
  });
  const { port: number } = await port.listen();
  return { port, number, url: `http://127.0.0.1:${number}`, requests, chained, refused, streams: () => streams };
}
