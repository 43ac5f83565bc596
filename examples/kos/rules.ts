import { readFileSync } from "node:fs";
import type { JsonObject } from "@bufbuild/protobuf";
import type { CheckPolicyRequest } from "../../gen/kos/policy/v1/contextual_policy_pb.ts";

/** What this K-OS forbids: calls that match all that is set. Everything else is allowed. */
export interface Rule {
  /** The policy's name, as those who are denied see it. */
  readonly id: string;
  /** Actions, e.g. "runtime.resume"; absent: all. */
  readonly actions?: readonly string[];
  /** Only where the caller has none of these roles; absent: whoever calls. */
  readonly unlessRoles?: readonly string[];
  /** Only about a workflow of this owner; absent: about anything. */
  readonly owner?: string;
  /** Only for brakes that match more workflows than this. */
  readonly above?: number;
  /** What the person who is denied is told. */
  readonly message: string;
}

/** What was decided. */
export interface Ruling {
  readonly allowed: boolean;
  readonly message: string;
  readonly policyIds: string[];
}

/** Rules from a JSON file. */
export function readRules(file: string): Rule[] {
  return JSON.parse(readFileSync(file, "utf8")) as Rule[];
}

/** Every rule that matches forbids. */
export function decide(rules: readonly Rule[], request: CheckPolicyRequest): Ruling {
  const against = rules.filter((rule) => matches(rule, request));
  if (against.length === 0) return { allowed: true, message: "", policyIds: ["kos/default"] };
  return {
    allowed: false,
    message: against.map(({ message }) => message).join("; "),
    policyIds: against.map(({ id }) => id),
  };
}

function matches({ actions, unlessRoles = [], owner, above }: Rule, request: CheckPolicyRequest): boolean {
  const { workflow, brake } = (request.context ?? {}) as { workflow?: JsonObject; brake?: JsonObject };
  const roles = request.userRole.split(",");
  if (actions !== undefined && !actions.includes(request.action)) return false;
  if (unlessRoles.some((role) => roles.includes(role))) return false;
  if (above !== undefined && Number(brake?.matched ?? 0) <= above) return false;
  return owner === undefined || workflow?.owner === owner;
}
