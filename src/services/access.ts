import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Access as AccessDescriptor,
  type ActionAccessSchema,
  ActionAccess_Answer as Answer,
  GetAccessResponseSchema,
  type RoleScopeSchema,
} from "../../gen/missioncontrol/v1/access_pb.ts";
import {
  PauseWorkflowRequestSchema,
  ResumeWorkflowRequestSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import { governanceOf } from "../interceptors/governance.ts";
import { questionOf } from "../interceptors/question.ts";
import type { Access, Grant } from "../policy/access.ts";
import type { Policy } from "../policy/policy.ts";
import { isYes } from "../policy/refusal.ts";
import { rolesWith } from "../policy/roles.ts";
import type { Scope } from "../store/brake.ts";
import type { BrakeTargets } from "./brake-targets.ts";
import { callerOf } from "./caller.ts";
import { explain } from "./explain.ts";
import { decisionMessage } from "./policy.ts";

/** What a question is asked with where the caller gives no reason: whether one may is not about the words. */
const someReason = "asked in advance: may I?";

/** An action, and the RPCs that do it. */
interface Action {
  readonly action: string;
  readonly permission: string;
  readonly methods: readonly DescMethod[];
  /** True where it is about one workflow. */
  readonly ofWorkflow: boolean;
  /** True where it is about brakes: what they match or hold decides as well. */
  readonly ofBrake: boolean;
}

/**
 * The Access service: what the chain would ask, asked in advance.
 *
 * @param methods all that people may call.
 */
export function accessService(deps: {
  readonly access: Access;
  readonly policy: Policy;
  readonly targets: BrakeTargets;
  readonly methods: readonly DescMethod[];
}): ServiceImpl<typeof AccessDescriptor> {
  const { access, policy, targets, methods } = deps;
  const actions = actionsOf(methods);

  const about = async (
    call: Call,
    { action, permission, ofBrake, ofWorkflow, ...one }: Action,
    asked: Asked,
    signal: AbortSignal,
  ) => {
    const { principal } = callerOf(asked.context);
    const grants = access.grants(principal, permission);
    const { target } = call;
    const reaching = target ? grants.filter(({ reach }) => reach.admits(target.engine, target)) : grants;
    const answer: MessageInitShape<typeof ActionAccessSchema> = {
      action,
      permission,
      methods: one.methods.map((method) => `${method.parent.typeName}/${method.name}`),
      grantedBy: grants.map((grant) => ({ ...grantOf(grant), reaches: reaching.includes(grant) })),
    };
    if (grants.length === 0) {
      const ask = rolesWith(access.roles, permission).filter((role) => !principal.roles.includes(role));
      return { ...answer, answer: Answer.NO, message: `none of your roles gives ${permission}`, rolesToAskFor: ask };
    }
    if (reaching.length === 0) {
      return { ...answer, answer: Answer.NO, message: `your roles give ${permission} on other workflows` };
    }
    if (ofWorkflow && target === undefined) {
      return { ...answer, answer: Answer.DEPENDS, message: "on the workflow: name one" };
    }
    const { reason, emergency, ticket } = asked;
    const brake = ofWorkflow
      ? await targets.factsOf({ ...call, ...requestOf(one.methods, emergency) }, signal)
      : undefined;
    const workflow = ofWorkflow ? target : undefined;
    const question = questionOf(call, {
      ...{ action, workflow, reason: reason || someReason, emergency, ticket, hypothetical: true },
      ...(brake && { brake }),
    });
    const decision = await policy.check(question, signal);
    const said = { ...answer, policy: decisionMessage(decision) };
    if (!isYes(decision)) return { ...said, answer: Answer.NO, message: decision.message };
    if (ofBrake) return { ...said, answer: Answer.DEPENDS, message: "on what the brake matches or holds" };
    return { ...said, answer: Answer.YES, message: decision.message };
  };

  return {
    async getAccess({ action: names, reason, emergency, ticket }, context) {
      const { call, principal } = callerOf(context);
      const wanted = names.length === 0 ? undefined : names.flatMap((name) => named(actions, name));
      const asked = { reason, emergency, ticket, context };
      const chosen = actions.filter((one) => wanted?.includes(one) ?? (call.target === undefined || one.ofWorkflow));
      const answers: MessageInitShape<typeof ActionAccessSchema>[] = [];
      for (const one of chosen) answers.push(await about(call, one, asked, context.signal));
      return create(GetAccessResponseSchema, {
        issuer: principal.issuer,
        subject: principal.subject,
        roles: [...principal.roles],
        machine: principal.machine === true,
        tenant: principal.tenant ?? "",
        workflowId: call.target?.workflowId ?? "",
        actions: answers,
      });
    },

    async explainPolicy(request, context) {
      const { call } = callerOf(context);
      const known = actions.find(({ action }) => action === request.action);
      if (known === undefined) throw unknownAction(actions, request.action);
      return explain(policy, call, request, context.signal);
    },
  };
}

interface Asked {
  readonly reason: string;
  readonly emergency: boolean;
  readonly ticket: string;
  readonly context: Parameters<typeof callerOf>[0];
}

function actionsOf(methods: readonly DescMethod[]): Action[] {
  const byAction = new Map<string, DescMethod[]>();
  for (const method of methods) {
    const { action } = governanceOf(method);
    byAction.set(action, [...(byAction.get(action) ?? []), method]);
  }
  return [...byAction]
    .map(([action, same]) => {
      const [first] = same as [DescMethod];
      const { permission, target, audit } = governanceOf(first);
      const { field } = first.input;
      // Access itself can be asked about a workflow, and need not be.
      const ofWorkflow = target !== undefined && permission.startsWith("workflows.");
      const ofBrake = audit === "CONTROL" && (field.selector ?? field.brakeId) !== undefined;
      return { action, permission, methods: same, ofWorkflow, ofBrake };
    })
    .sort((a, b) => (a.action < b.action ? -1 : 1));
}

/** "runtime.pause", "pause" or "PauseWorkflow". */
function named(actions: readonly Action[], name: string): Action[] {
  const exactly = actions.filter(({ action, methods }) => action === name || methods.some((one) => one.name === name));
  const found = exactly.length > 0 ? exactly : actions.filter(({ action }) => action.endsWith(`.${name}`));
  if (found.length === 0) throw unknownAction(actions, name);
  return found;
}

function unknownAction(actions: readonly Action[], name: string): MissionControlError {
  const known = actions.map(({ action }) => action).join(", ");
  return new MissionControlError("INVALID_ARGUMENT", `there is no action "${name}": there are ${known}`, {
    violations: [{ field: "action", description: "is none that there is" }],
  });
}

/** The call that policy would be asked about: what is known of the brake depends on it. */
function requestOf(methods: readonly DescMethod[], emergency: boolean): Pick<Call, "request"> {
  for (const schema of [PauseWorkflowRequestSchema, ResumeWorkflowRequestSchema]) {
    if (methods.some(({ input }) => input.typeName === schema.typeName)) {
      return { request: create<typeof PauseWorkflowRequestSchema>(schema as never, { emergency }) };
    }
  }
  return {};
}

function grantOf({ role, reach }: Grant) {
  return { role, scopes: (reach.scopes ?? []).map(scopeOf) };
}

function scopeOf({ engines = [], types = [], labels = {} }: Scope): MessageInitShape<typeof RoleScopeSchema> {
  return {
    engines: [...engines],
    types: [...types],
    labels: Object.entries(labels).map(([key, value]) => `${key}=${value}`),
  };
}
