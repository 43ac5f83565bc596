import type { Engine } from "../../../src/engines/engine.ts";
import type { StepRecorder } from "../../fixture/step-recorder.ts";

/**
 * What a new engine brings to be tested by the suite: a real engine of its own, real workers, and the adapter between. Ids are
 * the engine's own. Everything is the test's alone: other workflows may be there all the time.
 */
export interface EngineHarness {
  /** The adapter, on its straight way to the engine. */
  readonly engine: Engine;
  /** What really ran, told by the steps themselves, by the engine's ids. */
  readonly steps: StepRecorder;
  /** Starts a workflow that does this, and resolves to its id as soon as the engine has one. `delayMs` schedules it. */
  start(script: Script, options?: { readonly delayMs?: number }): Promise<string>;
  /** Sends what a workflow that awaits waits for, once it waits. */
  signal(id: string): Promise<void>;
  /** Ends it before its time, as its owner or another operator's tool would. */
  cancel(id: string): Promise<void>;
  /** Pauses it as another operator's tool would; undefined where there is none that could. */
  readonly pauseElsewhere?: (id: string) => Promise<void>;
  /** "type/handler" of the workflows that a script makes. */
  handlerOf(script: Script): string;
  /** Another adapter, with its own bad line to the same engine; undefined where there is no line. */
  readonly link?: () => Promise<FaultyLink>;
  /** Kills the engine as a crash would, and resolves once it has been started again: it may not be ready yet. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** What a workflow does, one thing after the other. Steps are named "step-1", "step-2", … */
export type Script =
  /** So many steps of so many ms. What it is `given` with its start must not be seen in a trace. */
  | { readonly does: "steps"; readonly count: number; readonly ms: number; readonly given?: string }
  /** A step, a sleep, a step. Idle: in the other way of sleeping that the engine has, if it has one. */
  | { readonly does: "sleep"; readonly ms: number; readonly idle?: boolean }
  /** A step, waiting for a signal from outside, a step. */
  | { readonly does: "await"; readonly idle?: boolean }
  /** A step, then it fails for good: "out of budget". */
  | { readonly does: "fail" }
  /** A step, one that fails so many times ("flaky step failed") before it succeeds, a step. */
  | { readonly does: "retry"; readonly failures: number }
  /** Four steps at the same time, then one more. */
  | { readonly does: "parallel"; readonly ms: number }
  /** A step, a child of so many steps that it waits for, a step. */
  | { readonly does: "parent"; readonly count: number; readonly ms: number }
  /** So many steps; of those with the same key one at a time, the others are pending. */
  | { readonly does: "queue"; readonly key: string; readonly count: number; readonly ms: number };

/** An adapter behind a line that can be made bad. */
export interface FaultyLink {
  readonly engine: Engine;
  /** What becomes of requests that arrive from now on; those that are kept unanswered stay so. */
  set(fault: Fault): void;
  /** Resolves once so many requests are kept unanswered. */
  untilKept(count: number): Promise<void>;
  close(): Promise<void>;
}

export type Fault =
  /** As it should be. */
  | "none"
  /** Nobody answers: the connection is refused or reset. */
  | "unreachable"
  /** The connection ends in the middle of an answer. */
  | "cutOff"
  /** It answers with an error of its own. */
  | "error"
  /** Something else answers, and says that all is well. */
  | "foreign"
  /** It takes requests and does not answer. */
  | "silent"
  /** It answers as it should, each time after half a second. */
  | "slow"
  /** It answers without an end. */
  | "endless"
  /** It says yes to every hold and release, and does nothing; the rest is as it should be. */
  | "lying"
  /** It says that it is there, and answers nothing else. */
  | "halfUp";
