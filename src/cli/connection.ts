import { setTimeout as delay } from "node:timers/promises";
import { getOption } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Access } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { Governance_Audit, governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../gen/missioncontrol/v1/revocations_pb.ts";
import { requestDigest } from "../proof/request-digest.ts";
import { withoutSecrets } from "../proof/secrets.ts";
import { signatureHeader, signRequest } from "../proof/signed-request.ts";
import type { Settings } from "./settings.ts";

/** An open connection to one server. */
export interface Connection {
  readonly missionControl: Client<typeof MissionControl>;
  readonly brakes: Client<typeof Brakes>;
  readonly auditLog: Client<typeof AuditLog>;
  readonly revocations: Client<typeof Revocations>;
  readonly access: Client<typeof Access>;
  readonly gateTokens: Client<typeof GateTokens>;
  close(): void;
}

/** Connects by gRPC at the first call. */
export function connect(settings: Pick<Settings, "server" | "token"> & Partial<Pick<Settings, "signer">>): Connection {
  // Pings find a dead connection below a quiet watch.
  const sessionManager = new Http2SessionManager(settings.server, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 });
  const transport = createGrpcTransport({
    baseUrl: settings.server,
    sessionManager,
    acceptCompression: [compressionGzip],
    readMaxBytes: 16 * 1024 * 1024,
    interceptors: [retryUnavailable, authorize(settings.token), sign(settings.signer)],
  });
  return {
    missionControl: createClient(MissionControl, transport),
    brakes: createClient(Brakes, transport),
    auditLog: createClient(AuditLog, transport),
    revocations: createClient(Revocations, transport),
    access: createClient(Access, transport),
    gateTokens: createClient(GateTokens, transport),
    close: () => sessionManager.abort(),
  };
}

function authorize(token: Settings["token"]): Interceptor {
  return (next) => async (req) => {
    const value = await token();
    if (value !== undefined) req.header.set("Authorization", `Bearer ${value}`);
    return next(req);
  };
}

/** Signs control calls, each attempt anew: a signature is good once. */
function sign(key: Settings["signer"]): Interceptor {
  return (next) => async (req) => {
    const { method } = req;
    if (req.stream || getOption(method, governance).audit !== Governance_Audit.CONTROL) return next(req);
    if (key !== undefined) {
      const digest = requestDigest(method.input, withoutSecrets(method.input, req.message));
      req.header.set(signatureHeader, signRequest(key, `${method.parent.typeName}/${method.name}`, digest, Date.now()));
    }
    return next(req);
  };
}

/** How often a call is made, at the most. */
export const maxAttempts = 4;

/** How long to wait after the given attempt (from 1), in ms: doubling to 5 s, with jitter so that clients do not come all at once. */
export function backOff(attempt: number): number {
  return Math.min(5_000, 150 * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/**
 * Makes a call again where the server was unavailable, within the call's deadline. Safe for control calls too: they carry a
 * request_id, so that the server does a thing once however often it is asked.
 */
const retryUnavailable: Interceptor = (next) => async (req) => {
  if (req.stream) return next(req);
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(req);
    } catch (error) {
      if (attempt === maxAttempts || ConnectError.from(error).code !== Code.Unavailable) throw error;
      try {
        await delay(backOff(attempt), undefined, { signal: req.signal });
      } catch {
        throw error;
      }
    }
  }
};
