import { create, fromJson, isMessage } from "@bufbuild/protobuf";
import {
  ApproveBrakeRequestSchema,
  EngageBrakeRequestSchema,
  ReleaseBrakeRequestSchema,
  SelectorSchema,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import {
  PauseWorkflowRequestSchema,
  ResumeWorkflowRequestSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type SeenBrake, seenWithin } from "../brakes/brake-sight.ts";
import type { Brakes } from "../brakes/brakes.ts";
import type { FleetCommands } from "../brakes/fleet.ts";
import { holds } from "../brakes/halt.ts";
import type { Resolved } from "../brakes/resolved.ts";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import { principalOf, reachOf } from "../interceptors/authorize.ts";
import type { Call } from "../interceptors/context.ts";
import type { Access, Grant } from "../policy/access.ts";
import type { BrakeFacts } from "../policy/policy.ts";
import type { Reach } from "../policy/reach.ts";
import type { Permission } from "../policy/roles.ts";
import type { Brake } from "../store/brake.ts";

/** What policy is told of the brakes that calls are about: what they really match or hold at this moment. */
export class BrakeTargets {
  readonly #brakes: Brakes;
  readonly #commands: FleetCommands;
  readonly #access: Access;
  readonly #resolved = new WeakMap<Call, Resolved>();

  constructor(brakes: Brakes, commands: FleetCommands, access: Access) {
    this.#brakes = brakes;
    this.#commands = commands;
    this.#access = access;
  }

  /** The facts of the brake that the call engages, approves or releases; undefined where there is none. */
  async factsOf(call: Call, signal: AbortSignal): Promise<BrakeFacts | undefined> {
    const { request } = call;
    const principal = principalOf(call);
    if (isMessage(request, EngageBrakeRequestSchema)) {
      const selector = request.selector ?? create(SelectorSchema);
      const resolved = await this.#commands.resolve(selector, !request.excludeDescendants, reachOf(call), signal);
      this.#resolved.set(call, resolved);
      return this.toEngage(principal, resolved, selector.everything, request.emergency);
    }
    if (isMessage(request, PauseWorkflowRequestSchema)) {
      const roles = this.#rolesOnTarget(principal, "workflows.pause", call.target);
      return this.#toEngage(1, roles, false, request.emergency);
    }
    if (isMessage(request, ApproveBrakeRequestSchema)) {
      const found = await this.#whole(request.brakeId, reachOf(call), "approving");
      const waits = found?.brake.state === "AWAITING_APPROVAL";
      const matched = waits ? found.brake.approval?.matched : found?.holds.length;
      return found && this.#existing(principal, found.brake, matched ?? 0, this.#rolesOn(principal, found));
    }
    if (isMessage(request, ReleaseBrakeRequestSchema)) {
      const found = await this.#whole(request.brakeId, reachOf(call), "releasing");
      if (found === undefined) return undefined;
      const facts = this.#existing(principal, found.brake, found.holds.length, this.#rolesOn(principal, found));
      return { ...facts, staged: request.staged !== undefined };
    }
    if (isMessage(request, ResumeWorkflowRequestSchema)) return this.#pauses(principal, call.target);
    return undefined;
  }

  /** The facts of a brake that is to be engaged on these. */
  toEngage(principal: Principal, resolved: Resolved, everything: boolean, emergency: boolean): BrakeFacts {
    return this.#toEngage(resolved.count, this.rolesToEngage(principal, resolved), everything, emergency);
  }

  /** The caller's roles that let them brake all of these: one that reaches only some of them has no say in how many may be. */
  rolesToEngage(principal: Principal, { byEngine }: Resolved): string[] {
    const reachesAll = ({ reach }: Grant) =>
      !reach.isLimited || [...byEngine].every(([{ name }, rows]) => rows.every((row) => reach.admits(name, row)));
    return namesOf(this.#access.grants(principal, "brakes.engage").filter(reachesAll));
  }

  /** What the call's selector matched when policy was asked: what is engaged is what was decided on. */
  resolvedOf(call: Call): Resolved | undefined {
    return this.#resolved.get(call);
  }

  /** The pauses of this one workflow that a resume lifts, as one: an emergency where one of them is, and then by whom that is. */
  #pauses(principal: Principal, target: Workflow | undefined): BrakeFacts | undefined {
    const pauses = this.#brakes
      .on(target?.workflowId ?? "")
      .filter((held) => holds(held) && held.brake.workflowId !== "")
      .map(({ brake }) => brake);
    const emergencies = pauses.filter(({ emergency }) => emergency);
    const all = emergencies.length > 0 ? emergencies : pauses;
    const shown = all.find((brake) => isOwn(principal, brake)) ?? all[0];
    return shown && this.#existing(principal, shown, 1, this.#rolesOnTarget(principal, "workflows.resume", target));
  }

  #toEngage(matched: number, roles: readonly string[], everything: boolean, emergency: boolean): BrakeFacts {
    const radius = this.#commands.radius(roles);
    return { brakeId: "", matched, radius, everything, emergency, own: true, staged: false };
  }

  #existing(principal: Principal, brake: Brake, matched: number, roles: readonly string[]): BrakeFacts {
    return {
      brakeId: brake.brakeId,
      matched,
      radius: this.#commands.radius(roles),
      everything: fromJson(SelectorSchema, brake.selector).everything,
      emergency: brake.emergency,
      own: isOwn(principal, brake),
      staged: false,
    };
  }

  /**
   * The brake, for those who reach all of it; undefined where it is not there for the caller, whether it is there or not.
   * Throws ROLE_DENIED where only a part of it is within reach: who approves or releases answers for all of it.
   */
  async #whole(brakeId: string, reach: Reach, what: string): Promise<SeenBrake | undefined> {
    const found = await this.#brakes.find(brakeId);
    const seen = found && seenWithin(reach, found);
    if (seen === undefined || seen.whole) return seen;
    throw beyondReach(brakeId, what);
  }

  #rolesOnTarget(principal: Principal, permission: Permission, target: Workflow | undefined): string[] {
    const grants = this.#access.grants(principal, permission);
    return namesOf(grants.filter(({ reach }) => target && reach.admits(target.engine, target)));
  }

  #rolesOn(principal: Principal, found: SeenBrake): string[] {
    return namesOf(
      this.#access.grants(principal, "brakes.engage").filter(({ reach }) => seenWithin(reach, found)?.whole),
    );
  }
}

/** The refusal of what only those may do who reach all of a brake. */
export function beyondReach(brakeId: string, what: string): MissionControlError {
  return new MissionControlError(
    "ROLE_DENIED",
    `"${brakeId}" reaches beyond the scope of your roles: ${what} it is for those whose roles reach all of it`,
    { metadata: { brake_id: brakeId } },
  );
}

function namesOf(grants: readonly Grant[]): string[] {
  return grants.map(({ role }) => role);
}

function isOwn({ issuer, subject }: Principal, brake: Brake): boolean {
  return brake.engagedBy === subject && brake.issuer === issuer;
}
