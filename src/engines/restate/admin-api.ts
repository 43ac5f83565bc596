import { Agent, request } from "node:http";
import { MissionControlError } from "../../errors.ts";

/** Where a Restate server's admin API listens. It has no authentication of its own: a unix socket or loopback. */
export type AdminAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** What is sent at the same time, waited for, and read at the most. Two runaway queries starve the engine. */
const limits = { sockets: 32, queries: 4, requestMs: 10_000, responseBytes: 128 * 1024 * 1024 } as const;

/** The few calls of Restate's admin API that Mission Control makes; HTTP/1.1, as its HTTP/2 is many times slower. */
export class AdminApi {
  readonly #engine: string;
  readonly #address: AdminAddress;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: limits.sockets });
  readonly #waiting: (() => void)[] = [];
  #queries = 0;

  constructor(engine: string, address: AdminAddress) {
    this.#engine = engine;
    this.#address = address;
  }

  /** Runs one SQL query; rows as the engine gives them. The text must be made of constants and quoted values only. */
  async query<Row>(sql: string, signal?: AbortSignal): Promise<Row[]> {
    if (this.#queries >= limits.queries) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#queries++;
    try {
      const { status, body } = await this.#send("POST", "/query", JSON.stringify({ query: sql }), signal);
      // An id of the right shape may still be none; the engine then fails the query instead of finding nothing.
      if (status === 500 && body.includes("non valid invocation id")) return [];
      if (status !== 200) throw this.#refused(status, body, "/query");
      return (JSON.parse(body) as { rows: Row[] }).rows;
    } finally {
      this.#queries--;
      this.#waiting.shift()?.();
    }
  }

  /** Reads a JSON document. */
  async get<Body>(path: string, signal?: AbortSignal): Promise<Body> {
    const { status, body } = await this.#send("GET", path, undefined, signal);
    if (status !== 200) throw this.#refused(status, body, path);
    return JSON.parse(body) as Body;
  }

  /** Pauses or resumes one invocation; the HTTP status and the engine's message are the caller's to judge. */
  async control(
    action: "pause" | "resume",
    id: string,
    signal?: AbortSignal,
  ): Promise<{ status: number; message: string }> {
    const { status, body } = await this.#send("PATCH", `/invocations/${id}/${action}`, undefined, signal);
    return { status, message: body.slice(0, 500) };
  }

  /**
   * Pauses or resumes up to 1000 invocations at once; the failed ones with the engine's message. Undefined where the engine
   * has no such endpoint (it is not documented) or refuses the batch: then they are to be asked for one by one.
   */
  async controlBatch(
    action: "pause" | "resume",
    ids: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, string> | undefined> {
    const path = `/internal/invocations_batch_operations/${action}`;
    const { status, body } = await this.#send("POST", path, JSON.stringify({ invocation_ids: ids }), signal);
    if (status === 404 || status === 405 || status === 422 || status === 400) return undefined;
    if (status !== 200) throw this.#refused(status, body, path);
    const { failed = [] } = JSON.parse(body) as { failed?: { invocation_id: string; error: string }[] };
    return new Map(failed.map(({ invocation_id, error }) => [invocation_id, error]));
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  #refused(status: number, body: string, path: string): MissionControlError {
    return new MissionControlError(
      "ENGINE_UNAVAILABLE",
      `engine "${this.#engine}" answered ${status} to ${path}: ${body.slice(0, 300)}`,
      { metadata: { engine: this.#engine } },
    );
  }

  #send(
    method: string,
    path: string,
    body: string | undefined,
    signal?: AbortSignal,
  ): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) => {
        if (signal?.aborted) return reject(signal.reason);
        const what = cause instanceof Error ? cause.message : String(cause);
        reject(
          new MissionControlError("ENGINE_UNAVAILABLE", `engine "${this.#engine}" did not answer: ${what}`, {
            metadata: { engine: this.#engine },
            cause,
          }),
        );
      };
      const timeout = AbortSignal.timeout(limits.requestMs);
      const req = request({
        ...this.#address,
        method,
        path,
        agent: this.#agent,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        headers: {
          accept: "application/json",
          ...(body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        },
      });
      req.on("error", fail);
      req.on("response", (res) => {
        const chunks: Buffer[] = [];
        let size = 0;
        res.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > limits.responseBytes) res.destroy(new Error(`more than ${limits.responseBytes} bytes`));
          else chunks.push(chunk);
        });
        res.on("error", fail);
        res.on("end", () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }));
      });
      req.end(body);
    });
  }
}
