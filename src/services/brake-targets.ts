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
import type { Brakes } from "../brakes/brakes.ts";
import type { FleetCommands, Resolved } from "../brakes/fleet.ts";
import { holds } from "../brakes/halt.ts";
import type { Principal } from "../identity/principal.ts";
import { principalOf } from "../interceptors/authorize.ts";
import type { Call } from "../interceptors/context.ts";
import type { BrakeFacts } from "../policy/policy.ts";
import type { Brake } from "../store/brake.ts";

/** What policy is told of the brakes that calls are about: what they really match or hold at this moment. */
export class BrakeTargets {
  readonly #brakes: Brakes;
  readonly #commands: FleetCommands;
  readonly #resolved = new WeakMap<Call, Resolved>();

  constructor(brakes: Brakes, commands: FleetCommands) {
    this.#brakes = brakes;
    this.#commands = commands;
  }

  /** The facts of the brake that the call engages, approves or releases; undefined where there is none. */
  async factsOf(call: Call, signal: AbortSignal): Promise<BrakeFacts | undefined> {
    const { request } = call;
    const principal = principalOf(call);
    if (isMessage(request, EngageBrakeRequestSchema)) {
      const selector = request.selector ?? create(SelectorSchema);
      const resolved = await this.#commands.resolve(selector, !request.excludeDescendants, signal);
      this.#resolved.set(call, resolved);
      return this.toEngage(principal, resolved.count, selector.everything, request.emergency);
    }
    if (isMessage(request, PauseWorkflowRequestSchema)) return this.toEngage(principal, 1, false, request.emergency);
    if (isMessage(request, ApproveBrakeRequestSchema)) {
      const brake = (await this.#brakes.find(request.brakeId))?.brake;
      const waits = brake?.state === "AWAITING_APPROVAL";
      return brake && this.#existing(principal, brake, waits ? (brake.approval?.matched ?? 0) : this.#held(brake));
    }
    if (isMessage(request, ReleaseBrakeRequestSchema)) {
      const brake = (await this.#brakes.find(request.brakeId))?.brake;
      return brake && { ...this.#existing(principal, brake, this.#held(brake)), staged: request.staged !== undefined };
    }
    if (isMessage(request, ResumeWorkflowRequestSchema)) return this.#pauses(principal, call.target?.workflowId ?? "");
    return undefined;
  }

  /** The facts of a brake that is to be engaged on so many. */
  toEngage(principal: Principal, matched: number, everything: boolean, emergency: boolean): BrakeFacts {
    const radius = this.#commands.radius(principal.roles);
    return { brakeId: "", matched, radius, everything, emergency, own: true, staged: false };
  }

  /** What the call's selector matched when policy was asked: what is engaged is what was decided on. */
  resolvedOf(call: Call): Resolved | undefined {
    return this.#resolved.get(call);
  }

  /** The pauses of this one workflow that a resume lifts, as one: an emergency where one of them is, and then by whom that is. */
  #pauses(principal: Principal, workflowId: string): BrakeFacts | undefined {
    const pauses = this.#brakes
      .on(workflowId)
      .filter((held) => holds(held) && held.brake.workflowId !== "")
      .map(({ brake }) => brake);
    const emergencies = pauses.filter(({ emergency }) => emergency);
    const all = emergencies.length > 0 ? emergencies : pauses;
    const shown = all.find((brake) => isOwn(principal, brake)) ?? all[0];
    return shown && this.#existing(principal, shown, 1);
  }

  #existing(principal: Principal, brake: Brake, matched: number): BrakeFacts {
    return {
      brakeId: brake.brakeId,
      matched,
      radius: this.#commands.radius(principal.roles),
      everything: fromJson(SelectorSchema, brake.selector).everything,
      emergency: brake.emergency,
      own: isOwn(principal, brake),
      staged: false,
    };
  }

  #held({ brakeId }: Brake): number {
    return this.#brakes.holdCount(brakeId);
  }
}

function isOwn({ issuer, subject }: Principal, brake: Brake): boolean {
  return brake.engagedBy === subject && brake.issuer === issuer;
}
