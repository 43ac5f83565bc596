import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Principal } from "../identity/principal.ts";
import { allOf, type Decision, type PointDecision } from "./decision.ts";

/** What policy is asked. */
export interface PolicyQuestion {
  /** The K-OS action, e.g. "runtime.pause". */
  readonly action: string;
  readonly principal: Principal;
  /** The workflow that the call is about; undefined where it is about none. */
  readonly workflow: Workflow | undefined;
  /** The brakes that the call engages, approves or releases; undefined where it does none of that. */
  readonly brake?: BrakeFacts | undefined;
  /** "" where the call has none. */
  readonly reason: string;
  readonly emergency: boolean;
  /** The ticket or incident that the call names; "" where it names none. */
  readonly ticket?: string;
  /** When the call came. */
  readonly time: Date;
  readonly protocol: string;
  /** The caller's network address. */
  readonly source: string;
  /** What the caller's program says that it is (user-agent); "" where it says nothing. */
  readonly client?: string;
  /** True where nothing is done on the strength of the answer: somebody only wants to know. */
  readonly hypothetical?: boolean;
}

/** What policy is told of a brake that is to be engaged, approved or released. */
export interface BrakeFacts {
  /** "" for one that is to be engaged. */
  readonly brakeId: string;
  /** How many workflows it matches (to be engaged or approved) or holds (to be released) at this moment. */
  readonly matched: number;
  /** How many the caller's roles may brake without a second person; infinite where any number. */
  readonly radius: number;
  /** True where it is for every workflow there is and will be. */
  readonly everything: boolean;
  /** True where it is, or is to be, engaged as an emergency. */
  readonly emergency: boolean;
  /** True where the caller is the one who engaged it, or asked for it. */
  readonly own: boolean;
  /** True where it is to be released in stages. */
  readonly staged: boolean;
}

/** The policy decision point: one for all that are configured. */
export interface Policy {
  /** Decides. Never rejects: what goes wrong is a decision that is `failed`, and so a no. */
  check(question: PolicyQuestion, signal?: AbortSignal): Promise<Decision>;
  /** Decides on many, in their order; as many decisions as questions. Never rejects. */
  checkAll(questions: readonly PolicyQuestion[], signal?: AbortSignal): Promise<Decision[]>;
}

/** One that decides by itself: the embedded policies (embedded.ts), or a remote (remote.ts). */
export interface DecisionPoint {
  readonly name: string;
  /** Decides. Never rejects. */
  decide(question: PolicyQuestion, signal?: AbortSignal): Promise<PointDecision>;
  /** Decides on many, in their order. Never rejects. */
  decideAll(questions: readonly PolicyQuestion[], signal?: AbortSignal): Promise<PointDecision[]>;
}

/** Asks all decision points, at the same time; all have to permit. */
export function policyOf(points: readonly DecisionPoint[]): Policy {
  return {
    async check(question, signal) {
      return allOf(await Promise.all(points.map((point) => point.decide(question, signal))));
    },
    async checkAll(questions, signal) {
      const answers = await Promise.all(points.map((point) => point.decideAll(questions, signal)));
      return questions.map((_, index) => allOf(answers.map((answer, at) => answer[index] ?? missing(points[at]))));
    },
  };
}

function missing(point: DecisionPoint | undefined): PointDecision {
  return {
    point: point?.name ?? "",
    outcome: "failed",
    message: "one of the questions was not answered",
    policyIds: [],
    policySetHash: "",
    cached: false,
    durationMs: 0,
  };
}
