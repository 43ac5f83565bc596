import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { ServiceImpl } from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { Access } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../gen/missioncontrol/v1/revocations_pb.ts";

export interface FakeServer extends AsyncDisposable {
  readonly url: string;
  /** The Authorization header of each call, in order. */
  readonly authorizations: (string | null)[];
}

/** Serves the given RPCs by h2c, as Mission Control's port does; the others are unimplemented. */
export async function startFakeServer(
  rpcs: {
    readonly missionControl?: Partial<ServiceImpl<typeof MissionControl>>;
    readonly brakes?: Partial<ServiceImpl<typeof Brakes>>;
    readonly auditLog?: Partial<ServiceImpl<typeof AuditLog>>;
    readonly revocations?: Partial<ServiceImpl<typeof Revocations>>;
    readonly gateTokens?: Partial<ServiceImpl<typeof GateTokens>>;
    readonly access?: Partial<ServiceImpl<typeof Access>>;
  },
  port = 0,
): Promise<FakeServer> {
  const authorizations: (string | null)[] = [];
  const server = http2.createServer(
    connectNodeAdapter({
      acceptCompression: [compressionGzip],
      interceptors: [
        (next) => (req) => {
          authorizations.push(req.header.get("authorization"));
          return next(req);
        },
      ],
      routes: (router) => {
        router.service(MissionControl, rpcs.missionControl ?? {});
        router.service(Brakes, rpcs.brakes ?? {});
        router.service(AuditLog, rpcs.auditLog ?? {});
        router.service(Revocations, rpcs.revocations ?? {});
        router.service(Access, rpcs.access ?? {});
        router.service(GateTokens, rpcs.gateTokens ?? {});
      },
    }),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorizations,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
