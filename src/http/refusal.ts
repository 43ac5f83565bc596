import { type ConnectError, type ContextValues, createConnectRouter, createContextValues } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { type Answer, answerOf } from "./answer.ts";
import type { Exchange, Form } from "./exchange.ts";
import { errorInfo, httpStatusOf, statusJson } from "./status.ts";

/**
 * Connect's own serialization of errors, for all its protocols: handlers of some unary and some streaming RPC whose gate
 * throws the error at hand before anything is read.
 */
const errors = new WeakMap<ContextValues, ConnectError>();
const router = createConnectRouter({
  acceptCompression: [compressionGzip],
  requestGate: (context) => {
    throw errors.get(context.values);
  },
}).service(Health, {});
const unary = router.handlers.find((handler) => handler.method === Health.method.check);
const streaming = router.handlers.find((handler) => handler.method === Health.method.watch);

/** The error, in the form that the client of this request understands. */
export async function refusal(exchange: Exchange, error: ConnectError, form: Form = exchange.form): Promise<Answer> {
  const handler = form === "connect-stream" ? streaming : unary;
  const headers = headersOf(error);
  if (form === "rest" || handler === undefined) {
    return answerOf(httpStatusOf(error), "application/json", JSON.stringify(statusJson(error)), {
      ...Object.fromEntries(error.metadata),
      ...headers,
    });
  }
  const contextValues = createContextValues();
  errors.set(contextValues, error);
  const answer = await handler({
    httpVersion: "2.0",
    url: "http://mission-control/",
    method: "POST",
    header: exchange.header,
    body: nothing(),
    signal: exchange.signal,
    contextValues,
  });
  if (form === "connect-unary") for (const [name, value] of Object.entries(headers)) answer.header?.set(name, value);
  return answerFrom(answer);
}

/** What Connect answers, as the port sends it. */
export function answerFrom(response: UniversalServerResponse): Answer {
  const { status, header = new Headers(), body, trailer } = response;
  return { status, headers: header, ...(body && { body }), ...(trailer && { trailers: trailer }) };
}

/** The headers that HTTP wants beside some errors. */
function headersOf(error: ConnectError): Record<string, string> {
  const info = errorInfo(error);
  switch (httpStatusOf(error)) {
    case 401:
      // RFC 6750: what would let the caller in.
      return { "www-authenticate": info?.reason === "TOKEN_MISSING" ? "Bearer" : 'Bearer error="invalid_token"' };
    case 405:
      return { allow: info?.metadata.allow ?? "" };
    default:
      return {};
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
