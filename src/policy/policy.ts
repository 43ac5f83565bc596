import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Principal } from "../identity/principal.ts";
import type { Decision } from "./decision.ts";

/** What policy is asked. */
export interface PolicyQuestion {
  /** The K-OS action, e.g. "runtime.pause". */
  readonly action: string;
  readonly principal: Principal;
  /** The workflow that the call is about; undefined where it is about none. */
  readonly workflow: Workflow | undefined;
  /** "" where the call has none. */
  readonly reason: string;
  readonly emergency: boolean;
  /** When the call came. */
  readonly time: Date;
  readonly protocol: string;
  /** The caller's network address. */
  readonly source: string;
}

/** The policy decision point: embedded (cedar.ts) or remote. */
export interface Policy {
  /** Decides. Never rejects: what goes wrong is a decision that is `failed`, and so a no. */
  check(question: PolicyQuestion, signal?: AbortSignal): Promise<Decision>;
}
