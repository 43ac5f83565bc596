import { constants } from "node:http2";
import type { Exchange, NodeResponse } from "./exchange.ts";

/** An answer on its way out. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly trailers?: Headers;
}

/**
 * Sends an answer at the client's pace: the next chunk is asked for when the one before has left. Resolves when all is handed
 * to the system or the client is gone; the body is always run to its end or left properly, so that its `finally` is reached.
 */
export async function send(exchange: Exchange, answer: Answer, stallMs: number): Promise<void> {
  const { req, res, signal } = exchange;
  const begin = () => {
    if (signal.aborted || res.headersSent) return;
    answer.headers.forEach((value, name) => {
      res.setHeader(name, value);
    });
    res.writeHead(answer.status);
  };
  const body = answer.body instanceof Uint8Array ? [answer.body] : (answer.body ?? []);
  if (answer.body instanceof Uint8Array) answer.headers.set("content-length", String(answer.body.byteLength));
  for await (const chunk of body) {
    begin();
    if (signal.aborted || req.method === "HEAD") break;
    if (!res.write(chunk)) await drained(res, signal, stallMs);
  }
  begin();
  if (signal.aborted) return;
  if (answer.trailers) {
    const trailers: Record<string, string> = {};
    answer.trailers.forEach((value, name) => {
      trailers[name] = name === "grpc-message" ? grpcMessage(value) : value;
    });
    res.addTrailers(trailers);
  }
  res.end();
  if (res.closed) return;
  const timer = setTimeout(() => cutOff(res), stallMs);
  res.once("close", () => clearTimeout(timer));
}

/** Ends an answer in the middle, so that the client sees that it is not whole. */
export function cutOff(res: NodeResponse): void {
  if (res.stream) res.stream.close(constants.NGHTTP2_CANCEL);
  else res.socket?.destroy();
}

/**
 * Connect escapes more of a grpc-message than gRPC says, and grpc-js does not take it back: "restate%3Ainv_1". Only what the
 * protocol names is escaped here: all but printable ASCII, and the percent sign.
 */
function grpcMessage(escaped: string): string {
  return decodeURIComponent(escaped).replaceAll(/[^\x20-\x24\x26-\x7e]+/gu, encodeURIComponent);
}

/** Waits until the client has taken what was written. One that has not within `stallMs` is cut off. */
function drained(res: NodeResponse, signal: AbortSignal, stallMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => cutOff(res), stallMs);
  const done = () => resolve();
  res.once("drain", done);
  signal.addEventListener("abort", done);
  if (signal.aborted) done();
  return promise.finally(() => {
    clearTimeout(timer);
    res.off("drain", done);
    signal.removeEventListener("abort", done);
  });
}

/** A text or JSON answer, never cached, never guessed at. */
export function answerOf(
  status: number,
  contentType: string,
  body: string,
  headers: Record<string, string> = {},
): Answer {
  return {
    status,
    headers: new Headers({
      "content-type": contentType,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...headers,
    }),
    body: Buffer.from(body),
  };
}
