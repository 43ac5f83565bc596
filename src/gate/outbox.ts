import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AppliedSchema,
  type AttachRequest,
  AttachRequestSchema,
  type HelloSchema,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { HeldWorkflows } from "./held-workflows.ts";

/** How long reports are gathered, ms. */
const gatherMs = 50;
const perReport = 1_000;

/** What a gate has to say on one connection: the hello, then always the latest confirmation, and reports between. */
export class Outbox {
  readonly #held: HeldWorkflows;
  #applied: { readonly revision: bigint; readonly stepsInFlight: number } | undefined;
  #gathering: NodeJS.Timeout | undefined;
  /** What was held while there was no connection is due at once, but behind the first confirmation: before, it held still. */
  #reportDue = true;
  #confirmed = false;
  #closed = false;
  #ring = () => {};

  constructor(held: HeldWorkflows) {
    this.#held = held;
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
      if (this.#applied !== undefined) {
        const value = create(AppliedSchema, this.#applied);
        this.#applied = undefined;
        this.#confirmed = true;
        yield create(AttachRequestSchema, { message: { case: "applied", value } });
      } else if (this.#confirmed && this.#reportDue && !this.#held.isEmpty) {
        yield create(AttachRequestSchema, { message: { case: "held", value: this.#held.take(perReport) } });
      } else if (this.#closed) {
        return;
      } else {
        if (this.#confirmed) this.#reportDue = false;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#ring = resolve;
        await promise;
      }
    }
  }
}
