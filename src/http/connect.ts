import {
  Code,
  ConnectError,
  type ContextValues,
  createConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { MissionControlError, type Reason } from "../errors.ts";
import { callKey } from "../interceptors/context.ts";
import type { Answer } from "./answer.ts";
import { readBody } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import type { Limits } from "./limits.ts";
import { answerFrom } from "./refusal.ts";
import { endWithItsCall, rpcPath } from "./rpcs.ts";
import { errorInfo } from "./status.ts";

/** The signals that end what is in flight when the port closes: streams at once, unary calls when the grace is over. */
export interface Shutdown {
  readonly streams: AbortSignal;
  readonly unary: AbortSignal;
}

/** Serves RPCs over gRPC, gRPC-Web and Connect. */
export interface RpcServer {
  has(path: string): boolean;
  /**
   * The answer to a request whose path is an RPC's. Throws, where the call failed before it reached the chain: then the
   * ledger does not know of it.
   */
  serve(exchange: Exchange): Promise<Answer>;
}

/** @param ledgered false for what is not recorded: the health checks of probes. */
export function createRpcServer(options: {
  specs: readonly MethodImplSpec[];
  interceptors: Interceptor[];
  limits: Limits;
  shutdown: Shutdown;
  ledgered: boolean;
}): RpcServer {
  const { limits, shutdown } = options;
  /** The context that Connect made for a call: its signal's reason tells why the call failed. */
  const contexts = new WeakMap<ContextValues, HandlerContext>();
  const router = createConnectRouter({
    interceptors: options.interceptors,
    readMaxBytes: limits.requestBytes,
    writeMaxBytes: limits.responseBytes,
    // No brotli: its decoder in this Node has a memory-safety advisory.
    acceptCompression: [compressionGzip],
    // A misspelled field must not be dropped: "validate_olny" would pause for real.
    jsonOptions: { ignoreUnknownFields: false },
    requestGate: (context) => {
      contexts.set(context.values, context);
    },
  });
  for (const spec of options.specs) {
    const unary = spec.kind === "unary";
    router.rpc(spec.method, endWithItsCall(spec).impl as never, {
      maxTimeoutMs: unary ? limits.unaryDeadlineMs : limits.streamDeadlineMs,
      shutdownSignal: unary ? shutdown.unary : shutdown.streams,
    });
  }
  const handlers = new Map<string, UniversalHandler>(
    router.handlers.map((handler) => [rpcPath(handler.method), handler]),
  );

  return {
    has: (path) => handlers.has(path),
    async serve(exchange) {
      const handler = handlers.get(exchange.path);
      if (handler === undefined) throw new Error(`no handler for ${exchange.path}`);
      refuseByHeaders(exchange, handler);
      const contextValues = createContextValues().set(callKey, exchange.call);
      const { methodKind } = handler.method;
      const oneMessage = methodKind === "unary" || methodKind === "server_streaming";
      const response = await handler({
        httpVersion: exchange.req.httpVersion,
        url: `http://mission-control${exchange.path}`,
        method: "POST",
        header: withDeadline(exchange, methodKind === "unary" ? limits.unaryDeadlineMs : undefined),
        body: readBody(exchange.req, oneMessage ? limits.bodyMs : undefined),
        signal: exchange.signal,
        contextValues,
      });
      const answer = answerFrom(response);
      if (!options.ledgered || exchange.call.audited) return answer;
      throw failureOf(contexts.get(contextValues), answer, exchange);
    },
  };
}

/** What Connect would refuse without a word: told in full instead. */
function refuseByHeaders({ req, header, form, path }: Exchange, handler: UniversalHandler): void {
  if (req.method !== "POST") {
    throw new MissionControlError("METHOD_NOT_ALLOWED", `${path} is an RPC: call it with POST`, {
      metadata: { allow: "POST" },
    });
  }
  const contentType = header.get("content-type") ?? "";
  if (form === "rest" || !handler.supportedContentType(contentType)) {
    const types =
      handler.method.methodKind === "unary"
        ? "application/json, application/proto"
        : "application/connect+json, application/connect+proto";
    throw new MissionControlError(
      "UNSUPPORTED_MEDIA_TYPE",
      `content-type "${contentType.slice(0, 128)}" is not understood here: send ${types}, application/grpc or application/grpc-web`,
    );
  }
  if (handler.method.methodKind === "bidi_streaming" && req.httpVersionMajor < 2) {
    throw new MissionControlError("UNSUPPORTED_MEDIA_TYPE", `${path} streams both ways, which needs HTTP/2`);
  }
}

/** A unary call without a deadline gets the longest one there is. */
function withDeadline({ header, form }: Exchange, maxMs: number | undefined): Headers {
  const name = form === "grpc" || form === "grpc-web" ? "grpc-timeout" : "connect-timeout-ms";
  if (maxMs !== undefined && !header.has(name)) header.set(name, name === "grpc-timeout" ? `${maxMs}m` : String(maxMs));
  return header;
}

/** Why a call that the ledger does not know of ended. One that ended well is a defect: nothing happens unseen. */
function failureOf(context: HandlerContext | undefined, answer: Answer, { form }: Exchange): unknown {
  const succeeded =
    context === undefined || !context.signal.aborted || (form === "connect-unary" && answer.status === 200);
  if (succeeded) return new Error("a call was answered without an entry in the ledger");
  const { reason: failure } = context.signal;
  if (!(failure instanceof ConnectError)) return failure;
  const reason = errorInfo(failure) === undefined ? reasonByCode[failure.code] : undefined;
  return reason === undefined ? failure : new MissionControlError(reason, failure.rawMessage, { cause: failure });
}

/** Connect's own errors, all about a request that it could not read, come without google.rpc.ErrorInfo. */
const reasonByCode: Partial<Record<Code, Reason>> = {
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
  [Code.Unimplemented]: "UNSUPPORTED_ENCODING",
  // What it calls internal here are bytes that are not the message, or not packed as announced: the client's fault.
  [Code.Internal]: "INVALID_ARGUMENT",
};
