import { createServer, type Server, type Socket } from "node:net";

/** What a connection speaks, by its first bytes. */
export type Speaks = "http1" | "http2" | "tls";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const tlsHandshake = 0x16;

/** Tells what a connection speaks; undefined while the bytes leave it open. */
export function speaks(bytes: Buffer): Speaks | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === tlsHandshake) return "tls";
  const length = Math.min(bytes.length, preface.length);
  if (bytes.compare(preface, 0, length, 0, length) !== 0) return "http1";
  return length === preface.length ? "http2" : undefined;
}

/**
 * A TCP server that hands every connection over by what it speaks. One that does not say so within `sniffMs` is cut off.
 * The socket is handed over with nothing of it lost.
 */
export function createMux(options: {
  sniffMs: number;
  connections: number;
  accept: Record<Speaks, (socket: Socket) => void>;
}): Server {
  // Without noDelay, Nagle's algorithm makes HTTP/2 eight times slower. keepAlive finds peers that vanished without a FIN.
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }, (socket) => {
    // Held here, not unshifted: unshift() of an undecided prefix would make the stream readable again at once, for ever.
    let held = Buffer.alloc(0);
    let late: NodeJS.Immediate | undefined;
    // What has come is read first: of thousands of connections that come at once, many have said long ago what they speak when their
    // turn comes.
    const timer = setTimeout(() => {
      late = setImmediate(() => socket.destroy());
    }, options.sniffMs);
    const onReadable = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      held = Buffer.concat([held, chunk]);
      const protocol = speaks(held);
      if (protocol === undefined) return;
      leave();
      socket.unshift(held);
      options.accept[protocol](socket);
    };
    const onGone = () => {
      leave();
      socket.destroy();
    };
    const leave = () => {
      clearTimeout(timer);
      clearImmediate(late);
      socket.off("readable", onReadable).off("end", onGone).off("error", onGone).off("close", onGone);
    };
    socket.on("readable", onReadable).on("end", onGone).on("error", onGone).on("close", onGone);
  });
  server.maxConnections = options.connections;
  return server;
}
