import { Agent, request } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { MissionControlError } from "../../errors.ts";

/** Where a Restate server's admin API listens. It has no authentication of its own: a unix socket or loopback. */
export type AdminAddress =
  | { readonly socketPath: string }
  /** `secure`: by TLS, with the authorities that Node trusts. */
  | { readonly host: string; readonly port: number; readonly secure?: boolean };

/** What is sent at the same time, waited for, and read at the most. Two runaway queries starve the engine. */
const limits = { sockets: 32, queries: 4, waiting: 256, requestMs: 10_000, responseBytes: 128 * 1024 * 1024 } as const;

/** Whose a query is: the brake's own never wait behind those of people who look. */
export type Lane = "brake" | "read";

/** The few calls of Restate's admin API that Mission Control makes; HTTP/1.1, as its HTTP/2 is many times slower. */
export class AdminApi {
  readonly #engine: string;
  readonly #address: AdminAddress;
  readonly #secure: boolean;
  readonly #agent: Agent;
  readonly #slots = { brake: new Slots(), read: new Slots() };

  constructor(engine: string, address: AdminAddress) {
    this.#engine = engine;
    this.#address = address;
    this.#secure = "secure" in address && address.secure === true;
    this.#agent = new (this.#secure ? SecureAgent : Agent)({ keepAlive: true, maxSockets: limits.sockets });
  }

  /** Runs one SQL query; rows as the engine gives them. The text must be made of constants and quoted values only. */
  async query<Row>(sql: string, lane: Lane, signal?: AbortSignal): Promise<Row[]> {
    const slots = this.#slots[lane];
    if (!(await slots.take(signal))) {
      throw new MissionControlError(
        "ENGINE_BUSY",
        `more than ${limits.waiting} queries wait for engine "${this.#engine}": try again later`,
        { metadata: { engine: this.#engine } },
      );
    }
    try {
      const { status, body } = await this.#send("POST", "/query", JSON.stringify({ query: sql }), signal);
      if (status !== 200) throw this.#refused(status, body, "/query");
      const { rows } = this.#read<{ rows?: Row[] }>(body, "/query");
      if (!Array.isArray(rows)) throw this.foreign("/query");
      return rows;
    } finally {
      slots.give();
    }
  }

  /** Reads a JSON document. */
  async get<Body>(path: string, signal?: AbortSignal): Promise<Body> {
    const { status, body } = await this.#send("GET", path, undefined, signal);
    if (status !== 200) throw this.#refused(status, body, path);
    return this.#read<Body>(body, path);
  }

  /** Pauses or resumes one invocation; the HTTP status and the engine's message are the caller's to judge. */
  async control(
    action: "pause" | "resume",
    id: string,
    signal?: AbortSignal,
  ): Promise<{ status: number; message: string }> {
    const path = `/invocations/${id}/${action}`;
    const { status, body } = await this.#send("PATCH", path, undefined, signal);
    // A yes has no body. With one that is not even JSON it is somebody else's.
    if (status < 300 && body !== "") this.#read(body, path);
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
    const { failed } = this.#read<{ failed?: { invocation_id: string; error: string }[] }>(body, path);
    if (!Array.isArray(failed)) throw this.foreign(path);
    return new Map(failed.map(({ invocation_id, error }) => [invocation_id, error]));
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  #read<Body>(body: string, path: string): Body {
    try {
      const parsed: unknown = JSON.parse(body);
      if (typeof parsed === "object" && parsed !== null) return parsed as Body;
    } catch {
      // Said below.
    }
    throw this.foreign(path);
  }

  /** What is said where something else answered. */
  foreign(path: string): MissionControlError {
    return new MissionControlError(
      "ENGINE_UNAVAILABLE",
      `what answered to ${path} for engine "${this.#engine}" is not Restate's admin API: look at its configured address`,
      { metadata: { engine: this.#engine } },
    );
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
      const req = (this.#secure ? secureRequest : request)({
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

/** A few slots, and a bounded queue for them in the order of arrival. */
class Slots {
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  /** True once there is one; false where too many wait already. Rejects when the signal aborts meanwhile. */
  take(signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    if (this.#taken < limits.queries) {
      this.#taken++;
      return Promise.resolve(true);
    }
    if (this.#waiting.size >= limits.waiting) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(enter);
        reject(signal?.reason);
      };
      const enter = () => {
        signal?.removeEventListener("abort", abort);
        resolve(true);
      };
      this.#waiting.add(enter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Hands it on to who waits longest, or puts it back. */
  give(): void {
    for (const enter of this.#waiting) {
      this.#waiting.delete(enter);
      enter();
      return;
    }
    this.#taken--;
  }
}
