import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Server, Socket } from "node:net";
import type { Logger } from "../log.ts";
import type { NodeRequest, NodeResponse } from "./exchange.ts";
import { isHook } from "./hooks.ts";
import type { Limits } from "./limits.ts";
import { createMux } from "./mux.ts";
import { openTls, type Tls, type TlsConfig } from "./tls.ts";

/** One TCP port for HTTP/1.1 and HTTP/2: with TLS all of it, or none. */
export interface Connections {
  readonly server: Server;
  /** Undefined where the port does without TLS. */
  readonly tls: Tls | undefined;
  /** Takes no more connections, tells clients to go, and resolves when all are gone but those on which runtimes wait. */
  close(): Promise<void>;
  /** Cuts off what is left. */
  destroy(): void;
}

/** @throws Error that names the file of `tls` which cannot be used. */
export async function createConnections(options: {
  limits: Limits;
  log: Logger;
  /** Undefined: without TLS. */
  tls: TlsConfig | undefined;
  handle: (req: NodeRequest, res: NodeResponse) => void;
}): Promise<Connections> {
  const { limits, log } = options;
  let closing = false;
  const sockets = new Set<Socket>();
  /** Those that are no runtime's: a connection of HTTP/1.1 by its socket, one of HTTP/2 by its session. */
  const ordinary = new Set<object>();
  let waitingRuntimes = 0;
  const sessions = new Set<ServerHttp2Session>();

  let nextWarning = 0;
  const warn = () => {
    // One line tells as much as a flood of them.
    if (Date.now() < nextWarning) return;
    nextWarning = Date.now() + 10_000;
    log.warn({ limit: limits.connections }, "connections are dropped: there are too many");
  };
  /** False where there are too many: then it is gone. What it is for is known with its first request only. */
  const admit = (connection: Socket | ServerHttp2Session): boolean => {
    if (ordinary.has(connection)) return true;
    if (ordinary.size >= limits.connections) {
      warn();
      connection.destroy();
      return false;
    }
    ordinary.add(connection);
    connection.once("close", () => ordinary.delete(connection));
    return true;
  };

  const serve = (req: NodeRequest, res: NodeResponse) => {
    if (closing && req.stream === undefined) res.shouldKeepAlive = false;
    if (req.stream === undefined) {
      if (!isHook(req.url)) {
        if (!admit(req.socket)) return;
      } else {
        waitingRuntimes += 1;
        res.once("close", () => {
          waitingRuntimes -= 1;
        });
      }
    }
    // What fails when a client leaves is told by "close"; without a listener, "error" would end the process.
    req.on("error", () => {});
    res.on("error", () => {});
    endUnreadBody(req, res, limits.lingerMs);
    if (req.stream && headersTooLarge(req, limits.headerBytes)) res.writeHead(431).end();
    else options.handle(req, res);
  };
  const http1 = http1Server(limits, serve);
  const http2 = http2Server(limits, serve);
  http2.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    if (!admit(session)) return;
    closeWhenIdle(session, limits.idleMs);
    if (closing) session.close();
  });
  http2.on("sessionError", (error) => log.debug({ err: error }, "an HTTP/2 connection failed"));

  const accept = {
    http1: (socket: Socket) => http1.emit("connection", socket),
    http2: (socket: Socket) => http2.emit("connection", socket),
  };
  const tls = options.tls && (await openTls({ config: options.tls, limits, log, accept }));
  const server = createMux({
    sniffMs: limits.sniffMs,
    connections: limits.connections + limits.gateConnections,
    accept: tls
      ? {
          tls: (socket) => tls.accept(socket),
          http1: (socket) => refusePlaintext(socket, limits.lingerMs),
          http2: (socket) => socket.destroy(),
        }
      : { ...accept, tls: (socket) => socket.destroy() },
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("drop", warn);

  return {
    server,
    tls,
    async close() {
      closing = true;
      tls?.close();
      const gone = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      http1.close();
      // A connection becomes idle when the last answer that was promised "keep-alive" has left.
      const onlyRuntimes = Promise.withResolvers<void>();
      const idle = setInterval(() => {
        http1.closeIdleConnections();
        if (sockets.size === waitingRuntimes) onlyRuntimes.resolve();
      }, 50);
      await Promise.race([gone, onlyRuntimes.promise]).finally(() => clearInterval(idle));
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Who forgot the s of https is told; what they have sent is read by nobody. */
function refusePlaintext(socket: Socket, lingerMs: number): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.on("error", () => socket.destroy()).on("close", () => clearTimeout(timer));
  // What is left unread when a connection is closed would take the answer with it.
  socket.resume();
  const text = "This port speaks TLS: use https.\n";
  socket.end(
    `HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
  );
}

type Serve = (req: NodeRequest, res: NodeResponse) => void;

function http1Server(limits: Limits, serve: Serve): Http1Server {
  const http1 = createHttp1Server({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerMs,
    // Behind bodyMs, which gives an answer and an entry in the ledger; this one only ends what that could not.
    requestTimeout: limits.headerMs + 2 * limits.bodyMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: 1_000,
  });
  http1.maxRequestsPerSocket = limits.requestsPerConnection;
  http1.on("request", serve);
  // The guard speaks before the client is told to go on with its body.
  http1.on("checkContinue", serve);
  // It never listens itself; without the event, its timers for slow headers would never run.
  http1.emit("listening");
  return http1;
}

function http2Server(limits: Limits, serve: Serve): Http2Server {
  const http2 = createHttp2Server({
    settings: { maxConcurrentStreams: limits.streamsPerConnection, maxHeaderListSize: limits.headerBytes },
  });
  const listener = serve as unknown as (req: object, res: object) => void;
  http2.on("request", listener);
  http2.on("checkContinue", listener);
  return http2;
}

/** A session without a stream is closed when it is silent for so long. With one, heartbeats and TCP keep-alive watch it. */
function closeWhenIdle(session: ServerHttp2Session, idleMs: number): void {
  const streams = new Set<ServerHttp2Stream>();
  session.on("stream", (stream) => {
    streams.add(stream);
    stream.on("close", () => streams.delete(stream));
  });
  session.setTimeout(idleMs);
  session.on("timeout", () => {
    if (streams.size === 0) session.close();
    else session.setTimeout(idleMs);
  });
}

/**
 * An answer may be given before the body has come, as every refusal is. The client gets a moment to see it; whoever goes on
 * sending is cut off. Cutting at once would lose the answer on its way.
 */
function endUnreadBody(req: NodeRequest, res: NodeResponse, lingerMs: number): void {
  res.once("finish", () => {
    // What is left has to flow away, else the next request on the connection would wait behind it. Whoever was reading may
    // seem to listen still; and unlike resume(), a listener outlives that it stops.
    req.removeAllListeners("readable").on("data", () => {});
    if (req.complete) return;
    const timer = setTimeout(() => {
      if (req.stream) req.stream.close(constants.NGHTTP2_NO_ERROR);
      else req.socket.destroy();
    }, lingerMs);
    req.once("close", () => clearTimeout(timer)).once("end", () => clearTimeout(timer));
  });
}

/** Node tells HTTP/2 clients how much there may be, but does not hold them to it. */
function headersTooLarge(req: NodeRequest, headerBytes: number): boolean {
  // RFC 9113: names, values, and 32 bytes for each pair.
  return req.rawHeaders.reduce((size, text) => size + text.length + 16, 0) > headerBytes;
}
