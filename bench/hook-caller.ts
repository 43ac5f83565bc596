import { once } from "node:events";
import { connect, type Socket } from "node:net";

/**
 * A runtime's connection, over which it asks one hook after the other. It writes and reads the bytes itself: an HTTP client costs more than
 * the servers that are measured.
 */
export class HookCaller {
  readonly #socket: Socket;
  readonly #head: string;
  #got: Buffer = Buffer.alloc(0);
  #answered: { resolve(body: string): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket, { host, pathname }: URL) {
    this.#socket = socket;
    this.#head = `POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: `;
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("error", (error) => this.#answered?.reject(error));
    socket.on("close", () => this.#answered?.reject(new Error("the connection was closed before the answer")));
  }

  static async connect(hookUrl: string): Promise<HookCaller> {
    const url = new URL(hookUrl);
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    await once(socket, "connect");
    return new HookCaller(socket, url);
  }

  /** The decision. Rejects where there is none. */
  async ask(hook: object): Promise<string> {
    const body = JSON.stringify(hook);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#answered = { resolve, reject };
    this.#socket.write(`${this.#head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
    const { decision } = JSON.parse(await promise) as { decision?: string };
    if (decision === undefined) throw new Error("a hook was answered without a decision");
    return decision;
  }

  close(): void {
    this.#answered = undefined;
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#got = this.#got.length === 0 ? chunk : Buffer.concat([this.#got, chunk]);
    const head = this.#got.indexOf("\r\n\r\n");
    if (head < 0) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#got.toString("latin1", 0, head))?.[1];
    const end = head + 4 + Number(length);
    if (length !== undefined && this.#got.length < end) return;
    const body = this.#got.toString("utf8", head + 4, end);
    this.#got = this.#got.subarray(end);
    if (length === undefined) this.#answered?.reject(new Error("an answer does not tell its length"));
    else this.#answered?.resolve(body);
  }
}
