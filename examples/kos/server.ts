import { once } from "node:events";
import http2, { type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ContextualPolicy } from "../../gen/kos/policy/v1/contextual_policy_pb.ts";
import { decide, type Rule } from "./rules.ts";

/** What a K-OS is started with. */
export interface KosOptions {
  readonly host?: string;
  /** 0: any free one. */
  readonly port?: number;
  readonly rules: readonly Rule[];
  /** PEM; without it, it serves without TLS. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string };
  /** The bearer token that callers have to show; without it, none. */
  readonly token?: string;
}

/** A K-OS that serves. */
export interface Kos {
  readonly url: string;
  close(): Promise<void>;
}

/** A small K-OS: `kos.policy.v1.ContextualPolicy` over gRPC, deciding by a few rules. */
export async function startKos({ host = "127.0.0.1", port = 0, rules, tls, token }: KosOptions): Promise<Kos> {
  const policy: ServiceImpl<typeof ContextualPolicy> = {
    checkPolicy(request, context) {
      if (token !== undefined && context.requestHeader.get("authorization") !== `Bearer ${token}`) {
        throw new ConnectError("show the token that this K-OS knows", Code.Unauthenticated);
      }
      // The request_id goes back, so that the caller knows that this is the answer to its question.
      return { ...decide(rules, request), requestId: request.requestId };
    },
  };
  const handler = connectNodeAdapter({ routes: (router: ConnectRouter) => router.service(ContextualPolicy, policy) });
  const server: Http2Server = tls
    ? http2.createSecureServer(
        {
          key: tls.key,
          cert: tls.cert,
          ...(tls.clientCa && { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
        },
        handler,
      )
    : http2.createServer(handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.listen(port, host);
  await once(server, "listening");
  return {
    url: `${tls ? "https" : "http"}://${host}:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
