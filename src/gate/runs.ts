import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import {
  type Event,
  EventSchema,
  StepEndedSchema,
  StepHeldSchema,
  StepEnded_Outcome as StepOutcome,
  type StepStarted,
  StepStartedSchema,
  WorkflowEndedSchema,
  WorkflowEnded_Outcome as WorkflowOutcome,
  WorkflowStartedSchema,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { Orders } from "./orders.ts";
import type { Reports } from "./reports.ts";
import type { GatedWorkflow } from "./rules.ts";

/** What is to be known of a workflow. */
export interface WorkflowAbout {
  /** What sort of workflow it is: brakes select by it. 1 to 256 characters. */
  readonly type: string;
  /**
   * Unique in the engine, also over restarts: a process that takes a workflow over gives the same one. Up to 256 characters; default
   * a new UUID.
   */
  readonly id?: string;
  /** For people; default the type. */
  readonly name?: string;
  /** Brakes select by them. At most 32, keys of up to 64 and values of up to 256 characters. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The id of the workflow that started it. */
  readonly parentId?: string;
  /** What it was given: kept, without secrets, where the engine's entry in Mission Control's configuration says so. */
  readonly inputs?: unknown;
}

/** What is to be known of a step. */
export interface StepAbout {
  /** On whose behalf. Up to 128 characters. */
  readonly agent?: string;
  /** How much is at stake, e.g. "LOW" or "CRITICAL". Up to 32 characters. */
  readonly riskLevel?: string;
  /** What it was given, as of a workflow. */
  readonly inputs?: unknown;
  /** Gives up waiting while the step is held; the step then rejects with its reason and has not begun. */
  readonly signal?: AbortSignal;
}

/** A step that may run, and does. */
export interface StepInFlight {
  /** It has ended, once: with an error or without. */
  end(failure?: { readonly error: unknown }): void;
  /** It was given up before its end. */
  cancel(): void;
}

/** A step that has not begun. */
interface Asked {
  isHeld(): boolean;
  /** Resolves when the answer may be another one; rejects where it is given up. */
  changed(): Promise<void>;
  begin(): StepInFlight;
}

/** The workflows of this process that report of themselves: each step is asked about before it starts. */
export class Runs {
  readonly #orders: Orders;
  readonly #report: (event: Event) => void;
  readonly #open = new Set<Run>();

  /** @param reported is called whenever there is something new to report. */
  constructor(orders: Orders, reports: Reports, reported: () => void) {
    this.#orders = orders;
    this.#report = (event) => {
      reports.add(event);
      reported();
    };
  }

  /** How many steps run on of workflows that are to take none. */
  inFlightButHeld(): number {
    let count = 0;
    for (const { workflow, inFlight } of this.#open) {
      if (inFlight > 0 && this.#orders.reasonToHold(workflow) !== undefined) count += inFlight;
    }
    return count;
  }

  /** Tells anew what is open, to a server that may have lost sight of it. */
  announce(): void {
    for (const run of this.#open) run.announce();
  }

  /** @throws TypeError where what is said of it cannot be reported. */
  start(about: WorkflowAbout): Run {
    const run: Run = new Run(about, this.#orders, this.#report, () => this.#open.delete(run));
    this.#open.add(run);
    return run;
  }
}

/** A workflow of this process, from its beginning to its end. */
export class Run {
  readonly workflow: GatedWorkflow;
  /** Steps. */
  inFlight = 0;
  readonly #orders: Orders;
  readonly #report: (event: Event) => void;
  readonly #onEnd: () => void;
  readonly #ended = new AbortController();
  /** Its own beginning and the steps of it that are held now. */
  readonly #standing = new Set<Event["event"]>();
  readonly #reasonToHold: () => string | undefined;

  /** For Runs. */
  constructor(about: WorkflowAbout, orders: Orders, report: (event: Event) => void, onEnd: () => void) {
    const { type, id = randomUUID(), name = type, labels = {}, parentId = "", inputs } = about;
    check("a workflow's type", type, 1, 256);
    check("a workflow's id", id, 1, 256);
    check("a workflow's name", name, 0, 256);
    check("a workflow's parentId", parentId, 0, 256);
    if (Object.keys(labels).length > 32) throw new TypeError("gate: a workflow has at most 32 labels");
    for (const [key, value] of Object.entries(labels)) {
      check("a label's key", key, 1, 64);
      check(`label ${key}`, value, 0, 256);
    }
    this.workflow = { id, type, handler: "", name, labels };
    this.#orders = orders;
    this.#reasonToHold = orders.of(this.workflow);
    this.#report = report;
    this.#onEnd = onEnd;
    const value = create(WorkflowStartedSchema, {
      type,
      name,
      labels: { ...labels },
      parentWorkflowId: parentId,
      inputs: jsonOf(inputs),
    });
    this.#standing.add({ case: "workflowStarted", value });
    this.announce();
  }

  /** Tells what it is, and which of its steps are held. */
  announce(): void {
    for (const event of this.#standing) this.#tell(event);
  }

  get id(): string {
    return this.workflow.id;
  }

  /** Waits until the step may start, and starts it. Rejects as it does, or where it was given up while it was held. */
  async step<T>(name: string, work: () => T | Promise<T>, about: StepAbout = {}): Promise<T> {
    const asked = this.#ask(name, about);
    // Between the answer and the work nothing may be awaited: a step that was let go would start under newer orders.
    while (asked.isHeld()) await asked.changed();
    const step = asked.begin();
    try {
      const result = await work();
      step.end();
      return result;
    } catch (error) {
      step.end({ error });
      throw error;
    }
  }

  /** The same for what runs its steps itself: it has to start this one as soon as it is answered, and say when it has ended. */
  async enter(name: string, about: StepAbout = {}): Promise<StepInFlight> {
    const asked = this.#ask(name, about);
    while (asked.isHeld()) await asked.changed();
    return asked.begin();
  }

  /** It takes no further step: it has completed, or failed with an error. Steps that are held are given up. */
  end(failure?: { readonly error: unknown }): void {
    if (failure === undefined) this.#finish(WorkflowOutcome.COMPLETED, "");
    else this.#finish(WorkflowOutcome.FAILED, messageOf(failure.error));
  }

  /** It was given up. */
  cancel(): void {
    this.#finish(WorkflowOutcome.CANCELED, "");
  }

  #finish(outcome: WorkflowOutcome, errorMessage: string): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(new Error(`workflow ${this.id} has ended`));
    this.#onEnd();
    this.#tell({ case: "workflowEnded", value: create(WorkflowEndedSchema, { outcome, errorMessage }) });
  }

  /** A step that has not begun. `isHeld` is of the moment. */
  #ask(name: string, { agent = "", riskLevel = "", inputs, signal }: StepAbout): Asked {
    check("a step's name", name, 1, 256);
    check("a step's agent", agent, 0, 128);
    check("a step's riskLevel", riskLevel, 0, 32);
    const given = signal === undefined ? this.#ended.signal : AbortSignal.any([signal, this.#ended.signal]);
    given.throwIfAborted();
    const stepId = randomUUID();
    let held: Event["event"] | undefined;
    return {
      isHeld: () => {
        if (this.#reasonToHold() === undefined) return false;
        if (held !== undefined) return true;
        held = { case: "stepHeld", value: create(StepHeldSchema, { stepId, name }) };
        this.#standing.add(held);
        this.#tell(held);
        return true;
      },
      changed: async () => {
        try {
          await this.#orders.changed(given);
        } catch (error) {
          if (held !== undefined) {
            this.#standing.delete(held);
            // The workflow goes on without it, and stands no more. That is told by telling it anew.
            if (!this.#ended.signal.aborted) this.announce();
          }
          throw error;
        }
      },
      begin: () => {
        if (held !== undefined) this.#standing.delete(held);
        return this.#begin(create(StepStartedSchema, { stepId, name, agent, riskLevel, inputs: jsonOf(inputs) }));
      },
    };
  }

  #begin(value: StepStarted): StepInFlight {
    const { stepId } = value;
    this.inFlight++;
    this.#tell({ case: "stepStarted", value });
    let ended = false;
    const end = (outcome: StepOutcome, errorMessage: string) => {
      if (ended) return;
      ended = true;
      this.inFlight--;
      this.#tell({ case: "stepEnded", value: create(StepEndedSchema, { stepId, outcome, errorMessage }) });
    };
    return {
      end: (failure) =>
        failure === undefined ? end(StepOutcome.SUCCEEDED, "") : end(StepOutcome.FAILED, messageOf(failure.error)),
      cancel: () => end(StepOutcome.CANCELED, ""),
    };
  }

  #tell(event: Event["event"]): void {
    this.#report(create(EventSchema, { workflowId: this.id, time: timestampNow(), event }));
  }
}

function check(what: string, text: unknown, min: number, max: number): void {
  if (typeof text === "string" && text.length >= min && text.length <= max && text.isWellFormed()) return;
  throw new TypeError(`gate: ${what} has to be a text of ${min} to ${max} characters`);
}

/** Of inputs that are told, bytes of JSON. */
const maxInputs = 32 * 1024;

/** What cannot be told keeps no step from being taken. */
function jsonOf(inputs: unknown): string {
  if (inputs === undefined) return "";
  try {
    const json = JSON.stringify(inputs);
    const bytes = Buffer.byteLength(json);
    return bytes <= maxInputs ? json : `"(left out: ${bytes} bytes)"`;
  } catch {
    return '"(left out: it is no JSON)"';
  }
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, 1_024).toWellFormed();
}
