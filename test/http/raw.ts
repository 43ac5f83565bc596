import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A raw TCP connection that remembers what it got. */
export interface Raw {
  readonly socket: Socket;
  /** All that has come so far, as latin1. */
  received(): string;
  /** Resolves when the text has come; rejects when the connection ends without it. */
  until(text: string): Promise<string>;
  /** Resolves when the server has closed, with ms since the connection was made. */
  closed(): Promise<number>;
}

/** Opens one, and writes what is given. */
export async function raw(port: number, write?: string | Buffer): Promise<Raw> {
  const socket = connect(port, "127.0.0.1");
  const start = performance.now();
  let received = "";
  let closedAt: number | undefined;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const look of waiting) look();
  };
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    closedAt = performance.now() - start;
    wake();
  });
  await once(socket, "connect");
  if (write !== undefined) socket.write(write);
  const wait = <T>(look: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const attempt = () => {
        try {
          const found = look();
          if (found === undefined) return;
          resolve(found);
        } catch (error) {
          reject(error);
        }
        waiting.delete(attempt);
      };
      waiting.add(attempt);
      attempt();
    });
  return {
    socket,
    received: () => received,
    until: (text) =>
      wait(() => {
        if (received.includes(text)) return received;
        if (closedAt !== undefined) throw new Error(`closed before "${text}" came, after: ${received}`);
        return undefined;
      }),
    closed: () => wait(() => closedAt),
  };
}
