import type { RunStatus, StoredRun, StoredStep } from "../../store/gate-runs.ts";
import type { EngineWorkflow } from "../engine.ts";
import type { RunFacts, RunOutcome, StepFacts } from "./events.ts";

/** Steps of one workflow that are kept; what it does beyond is counted as in flight, and not kept. */
const maxSteps = 10_000;
const maxLabels = 64;
/** Of the inputs of one workflow's steps, characters; what comes beyond is left out, and said to be. */
const maxInputs = 1024 * 1024;

/** An ask that stays open. */
export interface OpenAsk {
  readonly step: StepFacts | undefined;
  letGo(): void;
}

/** How a workflow has ended. */
export interface Ending {
  readonly outcome: RunOutcome;
  readonly errorMessage: string;
  readonly time: number;
}

/** One workflow that has not ended, as its runtime told of it. Knows what it does, not whether it may. */
export class Run {
  readonly engine: string;
  readonly id: string;
  /** Steps that have begun and not ended, by the runtime's ids. */
  readonly inFlight = new Map<string, StoredStep>();
  readonly asks = new Set<OpenAsk>();
  /** True where the store has it, as it is or as it was. */
  isStored = false;
  /** What its runtime told of its end while it waited: of an earlier attempt, or what comes true when who waits has left. */
  toldEnd: Ending | undefined;
  /** Steps that changed since they were last taken to be written. */
  #unwritten = new Map<number, StoredStep>();
  /** The step in which it was when Mission Control was started anew, of one that takes one step after the other. */
  #inFlightAtStart: string | undefined;
  /** The place of each step that is kept. */
  readonly #places = new Map<string, number>();
  #type = "";
  #name = "";
  #labels: Readonly<Record<string, string>> = {};
  #parentId: string | undefined;
  #inputs: string | undefined;
  /** Of the steps' inputs, so far. */
  #inputsLength = 0;
  #phase: string;
  /** True while it waits, in its runtime, before a step. */
  #waits = false;
  #silent = false;
  #held = false;
  #ended: RunOutcome | undefined;
  #errorMessage = "";
  #createTime: number;
  #startTime: number | undefined;
  #updateTime: number;
  #seenTime: number;
  #endTime: number | undefined;

  constructor(engine: string, id: string, time: number) {
    this.engine = engine;
    this.id = id;
    this.#phase = "between steps";
    this.#createTime = time;
    this.#updateTime = Date.now();
    this.#seenTime = this.#updateTime;
  }

  /** As it was kept. Whether it still stands nobody knows: who asked has lost the connection. */
  static restore(stored: StoredRun, steps: readonly StoredStep[]): Run {
    const run = new Run(stored.engine, stored.id, stored.createTime);
    run.#type = stored.type;
    run.#name = stored.name;
    run.#labels = stored.labels;
    run.#parentId = stored.parentId;
    run.#inputs = stored.inputs;
    run.#startTime = stored.startTime;
    run.#updateTime = stored.updateTime;
    run.#seenTime = stored.seenTime;
    run.#held = stored.held;
    run.#phase = stored.phase;
    run.#silent = stored.status === "silent";
    run.isStored = true;
    for (const step of steps) {
      run.#places.set(step.stepId, step.index);
      run.#inputsLength += step.inputs?.length ?? 0;
      if (step.outcome === "inFlight") run.inFlight.set(step.stepId, step);
    }
    if (oneAfterTheOther(steps)) [run.#inFlightAtStart] = run.inFlight.keys();
    if (stored.status === "paused")
      run.lose("Mission Control was started anew while it waited, and it has not asked again");
    return run;
  }

  get held(): boolean {
    return this.#held;
  }

  get seenTime(): number {
    return this.#seenTime;
  }

  get status(): RunStatus {
    if (this.#ended) return this.#ended;
    if (this.#silent) return "silent";
    return this.#held && (this.asks.size > 0 || this.#waits) && this.inFlight.size === 0 ? "paused" : "running";
  }

  /** In more words than the status. */
  get phase(): string {
    if (this.#ended) return this.#ended;
    if (this.#silent) return this.#phase;
    if (this.inFlight.size > 0) return "in a step";
    if (this.toldEnd) return "waiting at the gate, though its runtime told that it has ended";
    return this.asks.size > 0 || this.#waits ? "waiting at the gate" : "between steps";
  }

  /** What is told of it is news: it is alive. */
  tell({ type, name, labels, parentId, inputs }: Omit<RunFacts, "id">): void {
    this.#type = type ?? this.#type;
    this.#name = name ?? this.#name;
    this.#parentId = parentId ?? this.#parentId;
    this.#inputs = inputs ?? this.#inputs;
    if (labels) this.#labels = Object.fromEntries(Object.entries({ ...this.#labels, ...labels }).slice(0, maxLabels));
    this.alive();
    this.touch();
  }

  /** It was heard of. True where that is news. */
  alive(): boolean {
    this.#seenTime = Date.now();
    if (!this.#silent) return false;
    this.#silent = false;
    this.touch();
    return true;
  }

  /** Nobody knows whether it runs. */
  lose(why: string): void {
    if (this.#silent || this.#ended) return;
    this.#silent = true;
    this.#waits = false;
    this.#phase = why;
    this.touch();
  }

  hold(held: boolean): void {
    if (this.#held === held) return;
    this.#held = held;
    this.touch();
  }

  /** It waits, in its runtime, before this step. */
  waits(step: StepFacts): void {
    // A runtime that waits before a step is not in it.
    this.inFlight.delete(step.id);
    this.#waits = true;
    this.touch();
  }

  /**
   * It asks for this step, or whether it may begin. Before its beginning it is in no step. One that takes one step after the other is
   * not in the one that was in flight when Mission Control was started anew: nobody was there to be told of its end.
   */
  asksFor(step: StepFacts | undefined, time: number): void {
    const over = step === undefined ? [...this.inFlight.keys()] : [this.#inFlightAtStart];
    this.#inFlightAtStart = undefined;
    for (const id of over) if (id !== undefined && id !== step?.id) this.finish(id, "unknown", "", time);
  }

  begin(time: number): void {
    this.#startTime ??= time;
    this.#waits = false;
    this.touch();
  }

  /** The step begins: a step that began before begins anew, and is the same. */
  start(step: StepFacts, time: number): void {
    this.begin(time);
    const index = this.#places.get(step.id) ?? this.#places.size;
    const begun: StoredStep = {
      engine: this.engine,
      runId: this.id,
      index,
      stepId: step.id,
      name: step.name,
      agent: step.agent ?? "",
      riskLevel: step.riskLevel ?? "",
      inputs: this.#roomFor(step.inputs),
      startTime: time,
      endTime: undefined,
      outcome: "inFlight",
      errorMessage: "",
    };
    this.inFlight.set(step.id, begun);
    this.#keep(begun);
  }

  /** True where the step has begun, now or before. */
  hasBegun(stepId: string): boolean {
    return this.#places.has(stepId) || this.inFlight.has(stepId);
  }

  finish(stepId: string, outcome: StoredStep["outcome"], errorMessage: string, time: number): void {
    const begun = this.inFlight.get(stepId);
    if (begun === undefined) return;
    this.inFlight.delete(stepId);
    this.#keep({ ...begun, endTime: Math.max(time, begun.startTime), outcome, errorMessage });
  }

  end({ outcome, errorMessage, time }: Ending): void {
    for (const stepId of [...this.inFlight.keys()]) this.finish(stepId, "unknown", "", time);
    this.#silent = false;
    this.#waits = false;
    this.#held = false;
    this.#ended = outcome;
    this.#errorMessage = errorMessage;
    this.#endTime = Math.max(time, this.#createTime);
    this.touch();
  }

  /** Its record changes now: no two changes have the same moment where the clock can tell them apart. */
  touch(): void {
    this.#updateTime = Math.max(Date.now(), this.#updateTime);
  }

  /** As engines show it. */
  get workflow(): EngineWorkflow {
    return workflowOf(this.stored);
  }

  /** As it is to be kept. */
  get stored(): StoredRun {
    return {
      engine: this.engine,
      id: this.id,
      type: this.#type,
      name: this.#name || this.#type,
      labels: this.#labels,
      parentId: this.#parentId,
      inputs: this.#inputs,
      status: this.status,
      phase: this.phase,
      createTime: this.#createTime,
      startTime: this.#startTime,
      updateTime: this.#updateTime,
      seenTime: this.#seenTime,
      endTime: this.#endTime,
      errorMessage: this.#errorMessage,
      held: this.#held,
    };
  }

  /** The steps that `takeUnwritten` would take. */
  get unwritten(): readonly StoredStep[] {
    return [...this.#unwritten.values()];
  }

  /** The steps that changed since this was last asked. */
  takeUnwritten(): StoredStep[] {
    const steps = [...this.#unwritten.values()];
    this.#unwritten = new Map();
    return steps;
  }

  /** What was taken could not be written. */
  giveBack(steps: readonly StoredStep[]): void {
    for (const step of steps) if (!this.#unwritten.has(step.index)) this.#unwritten.set(step.index, step);
  }

  #roomFor(inputs: string | undefined): string | undefined {
    if (inputs === undefined) return undefined;
    if (this.#inputsLength + inputs.length > maxInputs) return '"(left out: this workflow has too much of it)"';
    this.#inputsLength += inputs.length;
    return inputs;
  }

  #keep(step: StoredStep): void {
    this.touch();
    if (!this.#places.has(step.stepId)) {
      if (this.#places.size >= maxSteps) return;
      this.#places.set(step.stepId, step.index);
    }
    this.#unwritten.set(step.index, step);
  }
}

/** A workflow as engines show it, from how it is kept. */
export function workflowOf(stored: StoredRun): EngineWorkflow {
  const date = (time: number | undefined) => (time === undefined ? undefined : new Date(time));
  return {
    id: stored.id,
    type: stored.type,
    name: stored.name,
    status: stored.status,
    phase: stored.phase,
    labels: stored.labels,
    parentId: stored.parentId,
    createTime: new Date(stored.createTime),
    startTime: date(stored.startTime),
    updateTime: new Date(stored.updateTime),
    endTime: date(stored.endTime),
    errorMessage: stored.errorMessage,
    dueTime: undefined,
  };
}

/** True where steps have ended, and no two of all of them were in flight at the same time. */
function oneAfterTheOther(steps: readonly StoredStep[]): boolean {
  // The first steps of a workflow say nothing of how it takes them.
  if (steps.every(({ endTime }) => endTime === undefined)) return false;
  let free = 0;
  for (const { startTime, endTime } of steps.toSorted((a, b) => a.startTime - b.startTime)) {
    if (startTime < free) return false;
    free = endTime ?? Number.POSITIVE_INFINITY;
  }
  return true;
}
