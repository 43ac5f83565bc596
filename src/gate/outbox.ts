import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AppliedSchema,
  type AttachRequest,
  AttachRequestSchema,
  HeldStepsSchema,
  type HelloSchema,
  ReportSchema,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { HeldWorkflows } from "./held-workflows.ts";
import type { Reports } from "./reports.ts";

/** How long reports are gathered, ms. */
const gatherMs = 50;
const perReport = 1_000;

/** What a gate has to say on one connection: the hello, then always the latest confirmation, and reports between. */
export class Outbox {
  readonly #held: HeldWorkflows;
  readonly #reports: Reports;
  /** The number of the last event that was reported on this connection. */
  #reported = 0;
  #applied: { readonly revision: bigint; readonly stepsInFlight: number } | undefined;
  #gathering: NodeJS.Timeout | undefined;
  /** What came while there was no connection is due at once, but behind the first confirmation: before, it held still. */
  #reportDue = true;
  #confirmed = false;
  #closed = false;
  #ring = () => {};

  constructor(held: HeldWorkflows, reports: Reports) {
    this.#held = held;
    this.#reports = reports;
  }

  /** Confirms a set. One that has not been confirmed yet is passed over. */
  applied(revision: bigint, stepsInFlight: number): void {
    this.#applied = { revision, stepsInFlight };
    this.#ring();
  }

  /** Confirms a set once more, unless its confirmation is still to be sent. */
  stillApplied(revision: bigint): void {
    this.#applied ??= { revision, stepsInFlight: 0 };
    this.#ring();
  }

  /** There is something to report; soon, together with what comes until then. */
  report(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#reportDue = true;
      this.#ring();
    }, gatherMs).unref();
  }

  /** Says goodbye when the rest is said. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#gathering);
    this.#reportDue = true;
    this.#ring();
  }

  async *messages(hello: MessageInitShape<typeof HelloSchema>): AsyncGenerator<AttachRequest> {
    yield create(AttachRequestSchema, { message: { case: "hello", value: hello } });
    for (;;) {
      const message = this.#next();
      if (message !== undefined) {
        yield create(AttachRequestSchema, { message });
      } else if (this.#closed && (this.#confirmed || (this.#reports.size === 0 && this.#held.isEmpty))) {
        return;
      } else {
        if (this.#confirmed) this.#reportDue = false;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#ring = resolve;
        await promise;
      }
    }
  }

  /** A confirmation goes before every report. */
  #next(): AttachRequest["message"] | undefined {
    if (this.#applied !== undefined) {
      const value = create(AppliedSchema, this.#applied);
      this.#applied = undefined;
      this.#confirmed = true;
      return { case: "applied", value };
    }
    if (!this.#confirmed || !this.#reportDue) return undefined;
    if (!this.#held.isEmpty) return { case: "held", value: create(HeldStepsSchema, this.#held.take(perReport)) };
    const batch = this.#reports.after(this.#reported);
    if (batch === undefined) return undefined;
    const { firstSequence, events } = batch;
    this.#reported = firstSequence + events.length - 1;
    return { case: "report", value: create(ReportSchema, { firstSequence: BigInt(firstSequence), events }) };
  }
}
