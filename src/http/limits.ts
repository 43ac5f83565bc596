/** What the port allows at the most. Nothing on it is unbounded: times are in ms, sizes in bytes. */
export interface Limits {
  /** One request message, after decompression. */
  readonly requestBytes: number;
  /** One response message. 4 MiB is what gRPC clients accept by default. */
  readonly responseBytes: number;
  /** All headers of a request together. */
  readonly headerBytes: number;
  /** From the first byte of a request to the end of its headers (HTTP/1.1). */
  readonly headerMs: number;
  /** From the end of the headers to the end of the body of a request with one message. */
  readonly bodyMs: number;
  /** From the connection to the bytes that tell what it speaks. */
  readonly sniffMs: number;
  /** For a TLS handshake. Of thousands that begin at once the last has to wait for all the others. */
  readonly handshakeMs: number;
  /** Between two looks at whether the TLS files have changed. */
  readonly tlsReloadMs: number;
  /** A connection without a request in flight is closed after it. */
  readonly idleMs: number;
  /** A client that has not taken a message of an answer (see responseBytes) within it is cut off. */
  readonly stallMs: number;
  /** How long what is left of a body that nobody wants is thrown away, before the connection (or HTTP/2 stream) is cut. */
  readonly lingerMs: number;
  /** The longest deadline of a unary call; the deadline of one that names none. */
  readonly unaryDeadlineMs: number;
  /** The longest deadline that a stream may name. One that names none has none. */
  readonly streamDeadlineMs: number;
  /** Silence on a Server-Sent Events stream after which a comment is sent. */
  readonly heartbeatMs: number;
  /** Time that calls in flight have to end when the port closes. */
  readonly graceMs: number;
  /** Connections at the same time; more are dropped. */
  readonly connections: number;
  /** Connections beside these at the same time on which runtimes ask before their steps, and wait. */
  readonly gateConnections: number;
  /** What a runtime sends when it asks. */
  readonly hookBytes: number;
  /** Streams at the same time on one HTTP/2 connection. */
  readonly streamsPerConnection: number;
  /** Requests on one HTTP/1.1 connection, after which it is closed. */
  readonly requestsPerConnection: number;
  /** Watches of grpc.health.v1 at the same time: they are anonymous. */
  readonly healthWatches: number;
}

export const defaultLimits: Limits = {
  requestBytes: 1024 * 1024,
  responseBytes: 4 * 1024 * 1024,
  headerBytes: 16 * 1024,
  headerMs: 10_000,
  bodyMs: 30_000,
  sniffMs: 5_000,
  handshakeMs: 30_000,
  tlsReloadMs: 10_000,
  idleMs: 120_000,
  stallMs: 60_000,
  lingerMs: 1_000,
  unaryDeadlineMs: 10 * 60_000,
  streamDeadlineMs: 24 * 60 * 60_000,
  heartbeatMs: 15_000,
  graceMs: 10_000,
  connections: 1024,
  gateConnections: 6_000,
  hookBytes: 256 * 1024,
  streamsPerConnection: 100,
  requestsPerConnection: 10_000,
  healthWatches: 100,
};
