import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Event,
  type Report,
  StepEnded_Outcome as StepOutcome,
  WorkflowEnded_Outcome as WorkflowOutcome,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { GateDoor, GateEvent } from "../engines/gate/events.ts";
import { type InputsConfig, keptInputsOf } from "../engines/gate/inputs.ts";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";

/** From a failure to write what was reported to the next attempt, ms. */
const retryMs = 1_000;

/** What gates report to one engine. */
export class GateReports {
  readonly #door: GateDoor;
  readonly #log: Logger;
  readonly #inputs: InputsConfig | undefined;
  /** Which gate told of an open workflow last: it alone vouches for it. */
  readonly #owners = new Map<string, Reporting>();

  /** @param inputs how what workflows were given is kept; undefined: it is dropped. */
  constructor(door: GateDoor, log: Logger, inputs?: InputsConfig) {
    this.#door = door;
    this.#log = log;
    this.#inputs = inputs;
  }

  /** @param durable is called with the number of the last event that is, along with all before it. */
  open(durable: (sequence: bigint) => void): Reporting {
    return new Reporting(this.#door, this.#owners, durable, this.#log, this.#inputs);
  }
}

/** What one gate reports while it is attached. */
export class Reporting {
  readonly #door: GateDoor;
  readonly #owners: Map<string, Reporting>;
  readonly #durable: (sequence: bigint) => void;
  readonly #log: Logger;
  readonly #inputs: InputsConfig | undefined;
  readonly #ended = new AbortController();
  /** Its own open workflows. */
  readonly #open = new Set<string>();
  #taken = 0n;
  #writing: Promise<void> | undefined;

  /** For GateReports. */
  constructor(
    door: GateDoor,
    owners: Map<string, Reporting>,
    durable: (sequence: bigint) => void,
    log: Logger,
    inputs: InputsConfig | undefined,
  ) {
    this.#door = door;
    this.#owners = owners;
    this.#durable = durable;
    this.#log = log;
    this.#inputs = inputs;
  }

  /** Takes a report in at once; it is acknowledged when it is durable. */
  take({ firstSequence, events }: Report): void {
    for (const event of events) this.#takeEvent(event);
    const last = firstSequence + BigInt(events.length) - 1n;
    if (last > this.#taken) this.#taken = last;
    this.#writing ??= this.#write();
  }

  /** The gate is there, and so are its workflows. */
  seen(): void {
    for (const id of this.#open) if (this.#owners.get(id) !== this || !this.#door.isOpen(id)) this.#forget(id);
    this.#door.seen([...this.#open]);
  }

  /** Resolves when all that it reported is acknowledged, or it has ended. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** The gate is gone: nobody knows how its workflows go on, unless another gate has told of them since. */
  end(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    const own = [...this.#open].filter((id) => this.#owners.get(id) === this);
    for (const id of own) this.#owners.delete(id);
    this.#door.gone(own, "its gate is not attached any more: nobody knows whether it runs");
  }

  #takeEvent(event: Event): void {
    const told = gateEventOf(event, this.#inputs);
    if (told === undefined) return;
    // One by one: an event that cannot be kept takes no other along.
    this.#door.report([told]).catch((error: unknown) => {
      if (error instanceof MissionControlError && error.reason === "TOO_MANY_WORKFLOWS") {
        this.#log.warn({ err: error, workflowId: event.workflowId }, "what a gate reported of a workflow is lost");
      }
    });
    // It may have ended before, or be one too many.
    if (this.#door.isOpen(event.workflowId)) {
      this.#open.add(event.workflowId);
      this.#owners.set(event.workflowId, this);
    } else {
      this.#owners.delete(event.workflowId);
      this.#open.delete(event.workflowId);
    }
  }

  /** It is not open any more: nobody has to vouch for it. */
  #forget(id: string): void {
    this.#open.delete(id);
    if (this.#owners.get(id) === this) this.#owners.delete(id);
  }

  async #write(): Promise<void> {
    let acknowledged = 0n;
    while (this.#taken > acknowledged && !this.#ended.signal.aborted) {
      const taken = this.#taken;
      try {
        await this.#door.report([]);
        acknowledged = taken;
        this.#durable(taken);
      } catch {
        // The engine says so in health. What was taken counts, and is written as soon as that can be done.
        await delay(retryMs, undefined, { signal: this.#ended.signal }).catch(() => undefined);
      }
    }
    this.#writing = undefined;
  }
}

const stepOutcomes: Readonly<Partial<Record<number, "succeeded" | "failed" | "canceled">>> = {
  [StepOutcome.SUCCEEDED]: "succeeded",
  [StepOutcome.FAILED]: "failed",
  [StepOutcome.CANCELED]: "canceled",
};
const runOutcomes: Readonly<Partial<Record<number, "completed" | "failed" | "canceled">>> = {
  [WorkflowOutcome.COMPLETED]: "completed",
  [WorkflowOutcome.FAILED]: "failed",
  [WorkflowOutcome.CANCELED]: "canceled",
};

/** Undefined for what this version does not know; the messages were validated. */
function gateEventOf(
  { workflowId: runId, time: at, event }: Event,
  kept: InputsConfig | undefined,
): GateEvent | undefined {
  const time = at === undefined ? Date.now() : timestampMs(at);
  switch (event.case) {
    case "workflowStarted": {
      const { type, name, labels, parentWorkflowId } = event.value;
      const parentId = parentWorkflowId === "" ? undefined : parentWorkflowId;
      const inputs = keptInputsOf(event.value.inputs, kept);
      const run = { id: runId, type, name: name === "" ? type : name, labels, parentId, inputs };
      return { kind: "runStarted", time, run };
    }
    case "stepHeld":
      return { kind: "stepHeld", time, runId, step: { id: event.value.stepId, name: event.value.name } };
    case "stepStarted": {
      const { stepId, name, agent, riskLevel } = event.value;
      const inputs = keptInputsOf(event.value.inputs, kept);
      return { kind: "stepStarted", time, runId, step: { id: stepId, name, agent, riskLevel, inputs } };
    }
    case "stepEnded": {
      const { stepId, errorMessage } = event.value;
      const outcome = stepOutcomes[event.value.outcome];
      return outcome && { kind: "stepEnded", time, runId, stepId, outcome, errorMessage };
    }
    case "workflowEnded": {
      const outcome = runOutcomes[event.value.outcome];
      return outcome && { kind: "runEnded", time, runId, outcome, errorMessage: event.value.errorMessage };
    }
    case undefined:
      return undefined;
  }
}
