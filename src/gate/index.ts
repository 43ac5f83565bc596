import { hostname } from "node:os";
import { parse } from "node:path";
import type { HooksProvider } from "@restatedev/restate-sdk";
import { HeldWorkflows } from "./held-workflows.ts";
import { defaultLinkLimits, Link, type LinkLimits } from "./link.ts";
import { type Mode, Orders, type WhenDisconnected } from "./orders.ts";
import { Steps } from "./steps.ts";

export type { LinkLimits, Mode, WhenDisconnected };

/** What a gate is made of. Times in ms. */
export interface GateOptions {
  /** Mission Control's, e.g. "https://mission-control.internal:8030". */
  readonly url: string;
  /** A token with the role `gate`; as a function, asked at each attempt to connect, so that it can be renewed. */
  readonly token: string | (() => string | Promise<string>);
  /** The engine's name in Mission Control's configuration; default "restate". */
  readonly engine?: string;
  /** For people and receipts; default "<script>@<host>/<process id>". */
  readonly name?: string;
  /** The services whose options have the hooks; default: any. */
  readonly types?: readonly string[];
  /**
   * Without a connection, the last known brakes go on to hold for `staleLimitMs`. After that, "go on" (the default) holds
   * nothing; "hold" holds every step, also where no brakes were ever known, for `holdLimitMs`, and then nothing.
   */
  readonly whenDisconnected?: WhenDisconnected;
  /** Default 10 min. */
  readonly staleLimitMs?: number;
  /** Default 10 min. */
  readonly holdLimitMs?: number;
  /** Gets a line when the connection is made or lost. */
  readonly log?: (line: string) => void;
  readonly limits?: Partial<LinkLimits>;
}

/** How a gate is doing. */
export interface GateState {
  readonly connected: boolean;
  /** "connected", "stale" (the last known brakes hold), "open" (nothing is held) or "closed" (every step is). */
  readonly mode: Mode;
  /** Since when. */
  readonly since: Date;
  /** The set that came last; 0: none yet. */
  readonly revision: bigint;
  /** Brakes in it. */
  readonly brakes: number;
  /** Workflows that it names. */
  readonly workflows: number;
}

/** A gate of a worker. */
export interface Gate {
  /**
   * For the `hooks` option of the endpoint's `defaultServiceOptions`, or of a service; last in the list, so that nothing comes
   * between the gate's yes and the step. A service with `hooks` of its own does not get the default ones.
   */
  readonly hooks: HooksProvider;
  state(): GateState;
  /** Resolves when the first set is applied; rejects when the gate is closed before. */
  ready(): Promise<void>;
  /** Detaches. From then on the worker is one without a connection. */
  close(): Promise<void>;
}

/**
 * Has the steps of a Restate worker wait for Mission Control's brakes: while a brake holds a workflow, none of its steps starts
 * here. Connects by itself, as often as it takes; a step is answered from memory and never waits for the network.
 * @throws TypeError where the options cannot be used.
 */
export function createGate(options: GateOptions): Gate {
  const { token, engine = "restate", types = [], whenDisconnected = "go on", log = () => {} } = options;
  const { staleLimitMs = 600_000, holdLimitMs = 600_000 } = options;
  check(options);
  const orders = new Orders({ whenDisconnected, staleLimitMs, holdLimitMs });
  const held = new HeldWorkflows();
  const steps = new Steps(orders, (workflowId) => {
    held.add(workflowId);
    link.report();
  });
  const ready = Promise.withResolvers<void>();
  // Nobody has to ask.
  ready.promise.catch(() => {});
  let told = "";
  const tell = (line: string) => {
    // What stays the same is told once.
    if (line !== told) log(line);
    told = line;
  };
  const link = new Link({
    url: options.url,
    token: typeof token === "string" ? () => token : token,
    gate: options.name ?? `${programName()}@${hostname().slice(0, 64)}/${process.pid}`,
    engine,
    types,
    held,
    limits: { ...defaultLinkLimits, ...options.limits },
    apply: (rules) => {
      orders.apply(rules);
      tell("gate: connected to Mission Control");
      ready.resolve();
      return steps.inFlightButHeld();
    },
    lost: (error) => {
      orders.disconnected();
      tell(`gate: no connection to Mission Control: ${error.message}`);
    },
  });
  return {
    hooks: steps.hooks,
    state: () => ({
      connected: orders.mode === "connected",
      mode: orders.mode,
      since: orders.since,
      revision: orders.rules.revision,
      brakes: orders.rules.brakes,
      workflows: orders.rules.workflows,
    }),
    ready: () => ready.promise,
    close: async () => {
      await link.close();
      orders.disconnected();
      ready.reject(new Error("the gate was closed"));
    },
  };
}

function programName(): string {
  const { name } = parse(process.argv[1] ?? "");
  return name.slice(0, 32) || "worker";
}

function check({ url, token, name, whenDisconnected, staleLimitMs, holdLimitMs }: GateOptions): void {
  const fail = (what: string): never => {
    throw new TypeError(`createGate: ${what}`);
  };
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) fail("url has to be an http:// or https:// URL");
  if (typeof token !== "function" && (typeof token !== "string" || token === "")) fail("there is no token");
  if (name !== undefined && (name === "" || name.length > 128)) fail("name has to have 1 to 128 characters");
  if (whenDisconnected !== undefined && !["go on", "hold"].includes(whenDisconnected)) {
    fail('whenDisconnected has to be "go on" or "hold"');
  }
  for (const [limit, ms] of Object.entries({ staleLimitMs, holdLimitMs })) {
    if (ms !== undefined && !(ms >= 0)) fail(`${limit} has to be 0 or more`);
  }
}
