import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "../interceptors/context.ts";
import { hideTokens } from "../proof/secrets.ts";
import { clientThumbprint } from "./tls.ts";

/** A request of HTTP/1.1, or of HTTP/2 through Node's compatibility layer: then `stream` is there. */
export type NodeRequest = IncomingMessage & { readonly stream?: ServerHttp2Stream };
/** The same for responses. */
export type NodeResponse = ServerResponse & { readonly stream?: ServerHttp2Stream };

/** How an answer has to look for the client to understand it, an error above all. */
export type Form = "grpc" | "grpc-web" | "connect-unary" | "connect-stream" | "rest";

/** A request, with what every part of the port needs to know of it. */
export interface Exchange {
  readonly req: NodeRequest;
  readonly res: NodeResponse;
  readonly call: Call;
  readonly form: Form;
  /** The path as it was sent, without the query. */
  readonly path: string;
  /** The query as it was sent, without the question mark; empty where there is none. */
  readonly query: string;
  readonly header: Headers;
  /** Aborted when the client goes away before the answer has ended. */
  readonly signal: AbortSignal;
}

const saneId = /^[A-Za-z0-9._-]{1,128}$/;
const forms: readonly [Form, RegExp][] = [
  ["grpc", /^application\/grpc(\+(proto|json))?\s*(;|$)/i],
  ["grpc-web", /^application\/grpc-web(\+(proto|json))?\s*(;|$)/i],
  ["connect-stream", /^application\/connect\+(proto|json)\s*(;|$)/i],
  ["connect-unary", /^application\/(proto|json)\s*(;|$)/i],
];

/** Takes a request in. `isRpc` tells whether the path is that of an RPC. */
export function arrive(req: NodeRequest, res: NodeResponse, isRpc: (path: string) => boolean): Exchange {
  const [path = "", query = ""] = splitOnce(req.url ?? "", "?");
  const header = headerOf(req);
  const rpc = isRpc(path);
  const form = formOf(req.method ?? "", header, rpc);
  const sentId = header.get("x-request-id") ?? "";
  const controller = new AbortController();
  res.once("close", () => {
    if (!res.writableEnded) controller.abort(new ConnectError("the client went away", Code.Canceled));
  });
  return {
    req,
    res,
    form,
    path,
    query,
    header,
    signal: controller.signal,
    call: {
      // It is in every log line and entry of the call.
      id: saneId.test(sentId) && hideTokens(sentId) === sentId ? sentId : randomUUID(),
      protocol: rpc && form === "rest" ? "connect" : protocolOf(form),
      method: rpc ? path.slice(1) : `${req.method} ${hideTokens(path.slice(0, 512))}`,
      startTime: Date.now(),
      source: (req.socket.remoteAddress ?? "").replace(/^::ffff:/, ""),
      clientCertificateThumbprint: thumbprintOf(req),
      audited: false,
    },
  };
}

/** By connection: a certificate is looked at once, not for each call. */
const thumbprints = new WeakMap<object, string | undefined>();

function thumbprintOf(req: NodeRequest): string | undefined {
  // On HTTP/2, `socket` is a stand-in of the session's.
  const connection = req.stream?.session ?? req.socket;
  if (!thumbprints.has(connection)) thumbprints.set(connection, clientThumbprint(req.socket));
  return thumbprints.get(connection);
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** From the raw headers, so that one that was sent twice is seen to be. */
function headerOf(req: NodeRequest): Headers {
  const header = new Headers();
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? "";
    if (!name.startsWith(":")) header.append(name, req.rawHeaders[i + 1] ?? "");
  }
  return header;
}

function formOf(method: string, header: Headers, rpc: boolean): Form {
  if (method !== "POST") return "rest";
  const contentType = header.get("content-type") ?? "";
  const form = forms.find(([, pattern]) => pattern.test(contentType))?.[0] ?? "rest";
  // REST has JSON bodies too: only the path, or the header that Connect clients send, tells them apart.
  return form === "connect-unary" && !rpc && !header.has("connect-protocol-version") ? "rest" : form;
}

function protocolOf(form: Form): Call["protocol"] {
  return form === "connect-unary" || form === "connect-stream" ? "connect" : form;
}
