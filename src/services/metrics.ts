import type { DescService } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Brakes, BrakesChange } from "../brakes/brakes.ts";
import type { Drills } from "../brakes/drill.ts";
import type { Gates } from "../brakes/gates.ts";
import { holds } from "../brakes/halt.ts";
import type { Reconciler } from "../brakes/reconciler.ts";
import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import type { Fallback } from "../ledger/fallback.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LedgerStream } from "../ledger/stream/stream.ts";
import type { Reach } from "../policy/reach.ts";
import type { BrakeState, Hold } from "../store/brake.ts";
import type { Store } from "../store/store.ts";
import { unapprovedEmergencies } from "./emergencies.ts";

/** What the metrics are taken from. */
export interface MetricsDeps {
  /** Calls of their methods are counted by name, all others as "none". */
  readonly services: readonly DescService[];
  readonly engines: readonly string[];
  readonly brakes: Brakes;
  readonly reconcilers: readonly Reconciler[];
  readonly gates: Gates;
  readonly ledger: Ledger;
  readonly store: Pick<Store, "openIntentCount">;
  /** Undefined where none is configured. */
  readonly fallback: Fallback | undefined;
  readonly streams: readonly LedgerStream[];
  readonly drills: Drills;
}

/** Upper bounds, in seconds: from a step of a few ms to one that takes minutes. */
const standstillBuckets = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const states: readonly BrakeState[] = ["AWAITING_APPROVAL", "ENGAGED", "RELEASED", "EXPIRED"];

/**
 * The metrics of one server: docs/metrics.md has them all. What is (brakes, holds, lag, …) is looked up when it is asked for;
 * what happened (calls, standstills) is counted as it does. No label takes a value from outside.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #calls: Counter<"method" | "code">;
  readonly #standstill: Histogram;
  readonly #methods: ReadonlySet<string>;
  readonly #counted = new WeakSet<Call>();
  readonly #off: () => void;

  constructor(deps: MetricsDeps) {
    this.#methods = new Set(
      deps.services.flatMap((service) => service.methods.map(({ name }) => `${service.typeName}/${name}`)),
    );
    const registers = [this.#registry];
    this.#calls = new Counter({
      name: "missioncontrol_calls_total",
      help: "Calls that have ended, by RPC and gRPC code. Method none: refused before an RPC was reached.",
      labelNames: ["method", "code"],
      registers,
    });
    this.#standstill = new Histogram({
      name: "missioncontrol_standstill_seconds",
      help: "From the request to halt a workflow, or its catch, to its being seen to stand.",
      buckets: standstillBuckets,
      registers,
    });
    this.#gauges(deps);
    this.#off = deps.brakes.onChange((change) => this.#changed(change));
  }

  /**
   * All of them in Prometheus' text format, version 0.0.4. Throws ROLE_DENIED where the reader's reach ends somewhere: they
   * count all there is, and cannot be taken apart.
   */
  async text(reach: Reach): Promise<string> {
    if (!reach.isLimited) return this.#registry.metrics();
    throw new MissionControlError(
      "ROLE_DENIED",
      "the metrics count all workflows: they are for roles without a scope; health counts what you may see",
      { metadata: { permission: "health.read" } },
    );
  }

  /** A call has ended; counted once, however often it is told of. */
  ended(call: Call, code: string): void {
    if (this.#counted.has(call)) return;
    this.#counted.add(call);
    this.#calls.inc({ method: this.#methods.has(call.method) ? call.method : "none", code });
  }

  close(): void {
    this.#off();
  }

  #gauges({ engines, brakes, reconcilers, gates, ledger, store, fallback, streams, drills }: MetricsDeps): void {
    const registers = [this.#registry];
    const gauge = <Label extends string>(
      name: string,
      help: string,
      labelNames: readonly Label[],
      collect: (set: (value: number, labels?: Partial<Record<Label, string>>) => void) => void,
    ) =>
      new Gauge({
        name: `missioncontrol_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          collect((value, labels = {}) => this.set(labels, value));
        },
      });
    gauge("reconciler_round_seconds", "How long the reconciler's last full round took.", ["engine"], (set) => {
      for (const { state } of reconcilers) set(state.roundMs / 1_000, { engine: state.engine });
    });
    gauge(
      "reconciler_lag_seconds",
      "For how long a full round has been due; 0: nothing to hold.",
      ["engine"],
      (set) => {
        for (const { state } of reconcilers) set(state.lagMs / 1_000, { engine: state.engine });
      },
    );
    gauge("brakes", "Brakes that hold, wait for approval, or still let go.", ["state"], (set) => {
      const all = [...brakes.all()];
      for (const state of states) set(all.filter((brake) => brake.state === state).length, { state });
    });
    gauge("brakes_emergency_unapproved", "Emergency brakes that hold and were not approved yet.", [], (set) =>
      set(unapprovedEmergencies(brakes).length),
    );
    gauge("holds", "Workflows that brakes hold, one for each brake on each.", ["state"], (set) => {
      const counts = { standing: 0, halting: 0, pending: 0 };
      for (const workflowId of brakes.workflowIds()) {
        for (const held of brakes.on(workflowId)) if (holds(held)) counts[stateOf(held.hold)]++;
      }
      for (const [state, count] of Object.entries(counts)) set(count, { state });
    });
    gauge("ledger_writable", "1 while the ledger's database can be written, else 0.", [], (set) =>
      set(ledger.fault || fallback?.state ? 0 : 1),
    );
    gauge("ledger_open_intents", "Intents that no outcome ends: calls in flight, and those left open.", [], (set) =>
      set(store.openIntentCount),
    );
    gauge("ledger_fallback_entries", "Entries in the fallback file that the database does not have yet.", [], (set) =>
      set(fallback?.state?.entries ?? 0),
    );
    gauge("ledger_stream_behind_entries", "Entries that a sink of the ledger does not have yet.", ["sink"], (set) => {
      for (const { name, behind } of streams) set(behind, { sink: name });
    });
    gauge(
      "ledger_stream_left_out_entries",
      "Entries that a sink of the ledger rejected and will never have, since the start.",
      ["sink"],
      (set) => {
        for (const { name, leftOut } of streams) set(leftOut?.count ?? 0, { sink: name });
      },
    );
    gauge("gates_attached", "Gates that are attached.", ["engine"], (set) => {
      for (const engine of engines) set(gates.attached(engine).length, { engine });
    });
    gauge(
      "drill_standstill_seconds",
      "How long the last drill's canary took to stand; absent: it did not.",
      ["engine"],
      (set) => {
        for (const { engine, requestToStandstill } of drills.last) {
          if (requestToStandstill) set(durationMs(requestToStandstill) / 1_000, { engine });
        }
      },
    );
  }

  /** What stood already before a brake of ours tells nothing about us. */
  #changed({ stood }: BrakesChange): void {
    for (const { halt } of stood) {
      const { standstillTime, requestTime, foundPaused } = halt;
      if (standstillTime !== undefined && !foundPaused)
        this.#standstill.observe((standstillTime - requestTime) / 1_000);
    }
  }
}

/** As in a receipt: pending has not begun, or the engine was not asked yet. */
function stateOf({ halt }: Hold): "standing" | "halting" | "pending" {
  if (halt.standstillTime !== undefined) return "standing";
  return halt.acceptTime === undefined ? "pending" : "halting";
}
