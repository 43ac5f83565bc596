import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { MissionControlError } from "../errors.ts";
import { type Authenticate, isForGates } from "../interceptors/authenticate.ts";
import type { Call } from "../interceptors/context.ts";
import { toConnectError } from "../interceptors/errors.ts";
import type { Logger } from "../log.ts";
import { type Answer, cutOff, send } from "./answer.ts";
import { createRpcServer } from "./connect.ts";
import { createConnections } from "./connections.ts";
import { createCors } from "./cors.ts";
import { arrive, type Exchange, type NodeRequest, type NodeResponse } from "./exchange.ts";
import { checkToken } from "./guard.ts";
import { registerHealth } from "./health.ts";
import { type AnswerHook, serveHook, takeSecret } from "./hooks.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { createMetrics, metricsPath } from "./metrics.ts";
import { loadPages } from "./pages.ts";
import { registerReflection } from "./reflection.ts";
import { refusal } from "./refusal.ts";
import { collectRpcs, servicesOf } from "./rpcs.ts";
import type { Tls, TlsConfig } from "./tls.ts";
import { createTranscoder } from "./transcoder/transcoder.ts";

export interface PortOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Registers the services, each with all of its methods. Reflection and health come by themselves. */
  readonly routes: (router: ConnectRouter) => void;
  /** The chain, outermost first. Runs for every RPC on every protocol, reflection too; not for grpc.health.v1. */
  readonly interceptors: Interceptor[];
  /**
   * Verifies the token of a request's headers. Nothing of the body of a caller who is refused here is read. Has to be the one
   * that the chain asks too.
   */
  readonly authenticate: Authenticate;
  /** Whether calls can be served now, or else why not: for /readyz and grpc.health.v1. Must be cheap. */
  readonly ready: () => true | readonly string[];
  /**
   * Writes the ledger entry of a call that was refused before the chain could. Awaited before anything of the refusal is
   * sent; where it rejects, the client is told LEDGER_UNAVAILABLE instead.
   */
  readonly onRefused: (call: Call, error: ConnectError) => Promise<void>;
  readonly log: Logger;
  /** The files for TLS; absent: the port does without. */
  readonly tls?: TlsConfig | undefined;
  /** Whose pages may call from a browser, as exact origins; by default nobody's. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** What `GET /metrics` tells, behind the same chain; absent: there is no such path. */
  readonly metrics?: (call: Call) => Promise<string>;
  /** Answers runtimes that ask by HTTP before each step; absent: there are none. */
  readonly hooks?: AnswerHook;
  /** What differs from `defaultLimits`. */
  readonly limits?: Partial<Limits>;
}

/** The one port: gRPC, gRPC-Web, Connect and REST, over HTTP/1.1 and HTTP/2. */
export interface Port {
  /** Resolves when connections are taken; rejects where the address cannot be had. */
  listen(): Promise<{ address: string; port: number }>;
  /** The state of the TLS files; undefined where the port does without. */
  readonly tls: Pick<Tls, "state"> | undefined;
  /**
   * Takes no more calls, ends streams with SHUTTING_DOWN, and lets unary calls end within the grace period; then cuts off
   * what is left. A second call with a shorter grace wins. Runtimes that wait for an answer are left waiting.
   */
  close(graceMs?: number): Promise<void>;
  /** Cuts off what `close` has left waiting: the last thing to do. */
  end(): void;
}

/** Rejects where the TLS files cannot be used, with the file's name. */
export async function createPort(options: PortOptions): Promise<Port> {
  const { interceptors, log } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const ending = { streams: new AbortController(), unary: new AbortController() };
  const shutdown = { streams: ending.streams.signal, unary: ending.unary.signal };
  const ready = () => (shutdown.streams.aborted ? ["shutting down"] : options.ready());

  const served = collectRpcs(options.routes);
  const reflected = [...servicesOf(served), Health];
  const specs = [...served, ...collectRpcs((router) => registerReflection(router, reflected))];
  const healthSpecs = collectRpcs((router) => {
    const services = servicesOf(specs).map((service) => service.typeName);
    registerHealth(router, { services, ready: () => ready() === true, maxWatches: limits.healthWatches });
  });
  const rpcs = createRpcServer({ specs, interceptors, limits, shutdown, ledgered: true });
  const health = createRpcServer({ specs: healthSpecs, interceptors: [], limits, shutdown, ledgered: false });
  const rest = createTranscoder({ specs, interceptors, limits, shutdown });
  const metrics = options.metrics && createMetrics({ text: options.metrics, interceptors, limits, shutdown });
  const pages = await loadPages(ready);
  const cors = createCors(options.corsOrigins ?? []);

  const refuse = async (exchange: Exchange, failure: unknown): Promise<Answer> => {
    let error = toConnectError(failure, exchange.signal);
    if (error.code === Code.Internal && !(failure instanceof ConnectError)) {
      log.error({ err: failure, callId: exchange.call.id }, "a call failed outside of the chain");
    }
    if (exchange.call.unrecordable !== undefined) {
      error = toConnectError(exchange.call.unrecordable, exchange.signal);
    } else if (!exchange.call.audited) {
      try {
        await options.onRefused(exchange.call, error);
      } catch (cause) {
        const message = "the ledger cannot be written, and nothing happens here unseen: try again later";
        log.error({ err: cause, callId: exchange.call.id }, "a refusal could not be recorded");
        error = toConnectError(new MissionControlError("LEDGER_UNAVAILABLE", message, { cause }));
      }
    }
    return refusal(exchange, error);
  };

  const answerTo = async (exchange: Exchange): Promise<Answer> => {
    const { path, req, res, call } = exchange;
    if (pages.has(path)) return pages.serve(path, req);
    if (req.method === "OPTIONS") {
      const methods = rpcs.has(path) || health.has(path) ? ["POST"] : rest.allow(path);
      if (methods.length > 0) return cors.options(exchange, methods);
    }
    try {
      if (health.has(path)) return await health.serve(exchange);
    } catch (error) {
      return refusal(exchange, toConnectError(error));
    }
    try {
      if (!rpcs.has(path)) rest.name(exchange);
      checkToken(req.rawHeaders, isForGates(call.method) ? "gate-token" : "jwt");
      await options.authenticate(call, exchange.header);
      if (req.headers.expect !== undefined) res.writeContinue();
      if (rpcs.has(path)) return await rpcs.serve(exchange);
      if (exchange.form !== "rest") throw unknownMethod(path);
      const answer = await (metrics && path === metricsPath ? metrics : rest).serve(exchange);
      if (!call.audited) throw new Error("a call was answered without an entry in the ledger");
      return answer;
    } catch (error) {
      return refuse(exchange, error);
    }
  };

  const answerHook = async (exchange: Exchange, secret: NonNullable<ReturnType<typeof takeSecret>>) => {
    try {
      if (options.hooks === undefined) throw new MissionControlError("UNKNOWN_PATH", "no runtime asks by HTTP here");
      return await serveHook(exchange, secret, options.hooks, limits);
    } catch (error) {
      // In no other form: what a runtime cannot read must not look like a yes to it.
      return refuse({ ...exchange, form: "rest" }, error);
    }
  };

  const handle = async (req: NodeRequest, res: NodeResponse): Promise<void> => {
    try {
      const secret = takeSecret(req);
      const exchange = arrive(req, res, (path) => rpcs.has(path) || health.has(path));
      res.setHeader("x-request-id", exchange.call.id);
      cors.mark(exchange);
      const answer = await (secret ? answerHook(exchange, secret) : answerTo(exchange));
      await send(exchange, answer, limits.stallMs);
    } catch (error) {
      // Connect's pipelines throw where a client leaves in the middle: that is nobody's fault here.
      if (!res.closed) log.error({ err: error, path: req.url?.slice(0, 256) }, "an answer could not be sent");
      cutOff(res);
    }
  };
  const connections = await createConnections({ limits, log, tls: options.tls, handle });

  return {
    tls: connections.tls,
    listen() {
      const { promise, resolve, reject } = Promise.withResolvers<{ address: string; port: number }>();
      connections.server.once("error", reject);
      const { host, port } = options;
      // All that may be connected may come at once: after a restart every runtime does. What is beyond the system's own limit tries again.
      const backlog = limits.connections + limits.gateConnections;
      connections.server.listen({ host, port, backlog }, () => {
        connections.server.off("error", reject);
        const { address, port } = connections.server.address() as AddressInfo;
        resolve({ address, port });
      });
      return promise;
    },
    async close(graceMs = limits.graceMs) {
      const error = toConnectError(
        new MissionControlError("SHUTTING_DOWN", "this server is shutting down: call again"),
      );
      ending.streams.abort(error);
      const timer = setTimeout(() => {
        ending.unary.abort(error);
        connections.destroy();
      }, graceMs);
      await connections.close().finally(() => clearTimeout(timer));
    },
    end: () => connections.destroy(),
  };
}

function unknownMethod(path: string): MissionControlError {
  return new MissionControlError(
    "UNKNOWN_METHOD",
    `there is no RPC ${path.slice(0, 256)}: reflection lists what there is`,
  );
}
