import { AsyncLocalStorage } from "node:async_hooks";
import { hostname } from "node:os";
import { parse } from "node:path";
import type { HooksProvider } from "@restatedev/restate-sdk";
import { HeldWorkflows } from "./held-workflows.ts";
import { defaultLinkLimits, Link, type LinkLimits } from "./link.ts";
import { type Mode, Orders, type WhenDisconnected } from "./orders.ts";
import { Reports } from "./reports.ts";
import { type Run, Runs, type StepAbout, type StepInFlight, type WorkflowAbout } from "./runs.ts";
import { Steps } from "./steps.ts";

export type { LinkLimits, Mode, Run, StepAbout, StepInFlight, WhenDisconnected, WorkflowAbout };

/** What a gate is made of. Times in ms. */
export interface GateOptions {
  /** Mission Control's, e.g. "https://mission-control.internal:8030". */
  readonly url: string;
  /** A gate token of that engine; as a function, asked at each attempt to connect, so that it can be renewed. */
  readonly token: string | (() => string | Promise<string>);
  /**
   * The engine's name in Mission Control's configuration; default "restate". One of kind gate where the workflows are started here,
   * with `workflow` or `start`.
   */
  readonly engine?: string;
  /** For people and receipts; default "<script>@<host>/<process id>". */
  readonly name?: string;
  /** The types that are gated here; for Restate the services whose options have the hooks. Default: any. */
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
  /**
   * How many reported events wait in memory for Mission Control to acknowledge them; default 100,000 (about 50 MB). Beyond, the oldest
   * steps are dropped, which `state().lostReports` and the log tell.
   */
  readonly maxReports?: number;
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
  /** Events that Mission Control has not acknowledged; they are sent again when the connection was lost. */
  readonly unacknowledgedReports: number;
  /** Events that were dropped because there were more of those than `maxReports`. */
  readonly lostReports: number;
}

/** A gate of a worker. */
export interface Gate {
  /**
   * For the `hooks` option of the endpoint's `defaultServiceOptions`, or of a service; last in the list, so that nothing comes
   * between the gate's yes and the step. A service with `hooks` of its own does not get the default ones.
   */
  readonly hooks: HooksProvider;
  /**
   * Runs `work` as a workflow that Mission Control knows: its beginning, its steps and its end are reported. It has completed when
   * `work` resolves, and failed when that rejects.
   * @throws TypeError where what is said of it cannot be reported.
   */
  workflow<T>(about: WorkflowAbout, work: (run: Run) => T | Promise<T>): Promise<T>;
  /** The same for what does not end with a function: whoever starts it has to end it. */
  start(about: WorkflowAbout): Run;
  /**
   * Waits until no brake holds the workflow that it is called in, and then runs `work` as a step of it. Steps that were not let go
   * have not begun.
   * @throws Error where it is called outside of `workflow`.
   */
  step<T>(name: string, work: () => T | Promise<T>, about?: StepAbout): Promise<T>;
  /**
   * The function as a step: the same arguments, the same result. Its name is the step's where no other is given. `inputs` picks what
   * is told of its arguments; default nothing.
   */
  wrap<A extends unknown[], T>(
    work: (...args: A) => T | Promise<T>,
    about?: Omit<StepAbout, "inputs"> & { readonly name?: string; readonly inputs?: (...args: A) => unknown },
  ): (...args: A) => Promise<T>;
  state(): GateState;
  /**
   * Resolves when the first set is applied; rejects when the gate is closed before. What runs earlier does not know of any brake.
   */
  ready(): Promise<void>;
  /**
   * Reports what is left, for at most 5 s where there is a connection, and detaches. From then on the worker is one without a connection. A process does not
   * end by itself before.
   */
  close(): Promise<void>;
}

/**
 * Has the steps of this process wait for Mission Control's brakes: while a brake holds a workflow, none of its steps starts
 * here. Connects by itself, as often as it takes; a step is answered from memory and never waits for the network. For workers of
 * Restate there are `hooks`; for everything else `workflow` and `step`.
 * @throws TypeError where the options cannot be used.
 */
export function createGate(options: GateOptions): Gate {
  const { token, engine = "restate", types = [], whenDisconnected = "go on", log = () => {} } = options;
  const { staleLimitMs = 600_000, holdLimitMs = 600_000, maxReports = 100_000 } = options;
  check(options);
  const orders = new Orders({ whenDisconnected, staleLimitMs, holdLimitMs });
  const held = new HeldWorkflows();
  const steps = new Steps(orders, (workflowId) => {
    held.add(workflowId);
    link.report();
  });
  const reports = new Reports(maxReports);
  let lost = 0;
  const runs = new Runs(orders, reports, () => {
    if (reports.lost > 0 && lost === 0) log(`gate: more than ${maxReports} reports wait: the oldest steps are dropped`);
    lost = reports.lost;
    link.report();
  });
  const current = new AsyncLocalStorage<Run>();
  const step: Gate["step"] = (name, work, about) => {
    const run = current.getStore();
    if (run !== undefined) return run.step(name, work, about);
    return Promise.reject(
      new Error(`gate: step ${name} is in no workflow: call it below gate.workflow(…), or run.step`),
    );
  };
  const ready = Promise.withResolvers<void>();
  // Nobody has to ask.
  ready.promise.catch(() => {});
  let wasLost = false;
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
    reports,
    limits: { ...defaultLinkLimits, ...options.limits },
    apply: (rules) => {
      orders.apply(rules);
      if (wasLost) runs.announce();
      wasLost = false;
      tell("gate: connected to Mission Control");
      ready.resolve();
      return steps.inFlightButHeld() + runs.inFlightButHeld();
    },
    lost: (error) => {
      wasLost = true;
      orders.disconnected();
      tell(`gate: no connection to Mission Control: ${error.message}`);
    },
  });
  return {
    hooks: steps.hooks,
    async workflow(about, work) {
      const run = runs.start(about);
      try {
        const result = await current.run(run, work, run);
        run.end();
        return result;
      } catch (error) {
        run.end({ error });
        throw error;
      }
    },
    start: (about) => runs.start(about),
    step,
    wrap: (work, about = {}) => {
      const name = about.name ?? work.name;
      const { inputs, ...rest } = about;
      return async (...args) =>
        step(name, () => work(...args), { ...rest, ...(inputs && { inputs: inputs(...args) }) });
    },
    state: () => ({
      connected: orders.mode === "connected",
      mode: orders.mode,
      since: orders.since,
      revision: orders.rules.revision,
      brakes: orders.rules.brakes,
      workflows: orders.rules.workflows,
      unacknowledgedReports: reports.size,
      lostReports: reports.lost,
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

function check({ url, token, name, whenDisconnected, staleLimitMs, holdLimitMs, maxReports }: GateOptions): void {
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
  if (maxReports !== undefined && !(Number.isSafeInteger(maxReports) && maxReports > 0)) {
    fail("maxReports has to be a whole number above 0");
  }
}
