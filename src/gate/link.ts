import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type AttachResponse, Gate, type Rule } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { HeldWorkflows } from "./held-workflows.ts";
import { Outbox } from "./outbox.ts";
import type { Reports } from "./reports.ts";
import { Rules } from "./rules.ts";

/** Times in ms. */
export interface LinkLimits {
  /** From the call to the first set. */
  readonly attachMs: number;
  /** Without a word from the server, a connection is given up: it sends a sign of life every 15 s. */
  readonly silenceMs: number;
  /** Between two attempts to attach: at first, and at the most. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** For what is left to report, and the goodbye. */
  readonly closeMs: number;
}

export const defaultLinkLimits: LinkLimits = {
  attachMs: 10_000,
  silenceMs: 45_000,
  firstDelayMs: 100,
  longestDelayMs: 5_000,
  closeMs: 5_000,
};

export interface LinkOptions {
  readonly url: string;
  readonly token: () => string | Promise<string>;
  readonly gate: string;
  readonly engine: string;
  readonly types: readonly string[];
  readonly held: HeldWorkflows;
  readonly reports: Reports;
  readonly limits: LinkLimits;
  /** Has the set in force when it returns, and answers how many steps run on of workflows that it holds. */
  readonly apply: (rules: Rules) => number;
  /** The connection is gone, or could not be had. */
  readonly lost: (error: Error, nextAttemptMs: number) => void;
}

/** The connection to Mission Control: made again for as long as it takes, and never waited for by a step. */
export class Link {
  readonly #options: LinkOptions;
  readonly #instance = randomUUID();
  readonly #session: Http2SessionManager;
  readonly #client: Client<typeof Gate>;
  readonly #closing = new AbortController();
  readonly #abandon = new AbortController();
  readonly #run: Promise<void>;
  #outbox: Outbox | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    // Pings find a dead connection below a quiet stream.
    this.#session = new Http2SessionManager(options.url, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 });
    const transport = createGrpcTransport({
      baseUrl: options.url,
      sessionManager: this.#session,
      readMaxBytes: 8 * 1024 * 1024,
    });
    this.#client = createClient(Gate, transport);
    this.#run = this.#stay();
  }

  /** There is something new to report. */
  report(): void {
    this.#outbox?.report();
  }

  /** Reports what is left, says goodbye, and attaches no more. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#outbox?.close();
    const timer = setTimeout(() => this.#abandon.abort(new Error("the gate was closed")), this.#options.limits.closeMs);
    await this.#run;
    clearTimeout(timer);
    this.#session.abort();
  }

  async #stay(): Promise<void> {
    const { firstDelayMs, longestDelayMs } = this.#options.limits;
    const closing = this.#closing.signal;
    for (let failures = 0; !closing.aborted; failures++) {
      const failure = await this.#attach(() => {
        failures = 0;
      });
      if (closing.aborted) return;
      // With jitter, so that all the gates of a server that was restarted do not come at once.
      const ms = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(failures, 16)) * (0.5 + Math.random() / 2);
      this.#options.lost(failure, ms);
      await delay(ms, undefined, { signal: closing }).catch(() => {});
    }
  }

  /** One stay, from the call to its end; answers why it ended. */
  async #attach(attached: () => void): Promise<Error> {
    const { gate, engine, types, limits, held, reports } = this.#options;
    const watchdog = new Watchdog();
    const signal = AbortSignal.any([watchdog.signal, this.#abandon.signal]);
    try {
      watchdog.expect(limits.attachMs);
      const token = await unlessAborted(signal, this.#options.token());
      const outbox = new Outbox(held, reports);
      const responses = this.#client.attach(
        outbox.messages({ gate, engine, types: [...types], instance: this.#instance }),
        { signal, headers: { authorization: `Bearer ${token.trim()}` } },
      );
      this.#outbox = outbox;
      if (this.#closing.signal.aborted) outbox.close();
      const assembly = new Assembly();
      for await (const response of responses) {
        watchdog.expect(limits.silenceMs);
        reports.acknowledge(Number(response.reported));
        if (response.unchanged) {
          outbox.stillApplied(response.revision);
          continue;
        }
        const rules = assembly.add(response);
        if (rules === undefined) continue;
        outbox.applied(rules.revision, this.#options.apply(rules));
        attached();
      }
      return new Error("the server has ended the stream");
    } catch (error) {
      if (signal.aborted) return signal.reason;
      return error instanceof Error ? error : ConnectError.from(error);
    } finally {
      watchdog.stop();
      this.#outbox = undefined;
    }
  }
}

function unlessAborted<T>(signal: AbortSignal, value: T | Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    Promise.resolve(value).then(resolve, reject);
  });
}

/** Ends what falls silent. */
class Watchdog {
  readonly #silent = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  get signal(): AbortSignal {
    return this.#silent.signal;
  }

  /** Something has been heard; the next has to be within `ms`. */
  expect(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#silent.abort(new Error(`the server said nothing for ${ms} ms`)), ms).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Makes whole sets of what comes in parts. */
class Assembly {
  static readonly #maxIds = 1_000_000;
  #revision = 0n;
  #parts: Rule[] = [];

  /** The whole set with its last part, undefined before. */
  add({ revision, rules, more }: AttachResponse): Rules | undefined {
    if (revision !== this.#revision) this.#parts = [];
    this.#revision = revision;
    this.#parts.push(...rules);
    if (this.#parts.reduce((sum, { workflowIds }) => sum + workflowIds.length, 0) > Assembly.#maxIds) {
      throw new Error(`the server's set has more than ${Assembly.#maxIds} workflows`);
    }
    if (more) return undefined;
    const whole = new Rules(revision, this.#parts);
    this.#parts = [];
    return whole;
  }
}
