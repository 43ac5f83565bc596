import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type PauseWorkflowRequest,
  PauseWorkflowRequestSchema,
  type PauseWorkflowResponse,
  PauseWorkflowResponseSchema,
  type ResumeWorkflowRequest,
  ResumeWorkflowRequestSchema,
  type ResumeWorkflowResponse,
  ResumeWorkflowResponseSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status as Status, type Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Brakes, Claim } from "../brakes/brakes.ts";
import { holds } from "../brakes/halt.ts";
import { type ControlCommand, type ControlResult, heldByOthers, type PauseCommands } from "../brakes/pause.ts";
import { statusName } from "../brakes/status.ts";
import { receiptOf } from "../brakes/view.ts";
import { until } from "../brakes/wait.ts";
import type { Workflows } from "../brakes/workflows.ts";
import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import type { Policy } from "../policy/policy.ts";
import { callerOf, targetOf } from "./caller.ts";
import type { Idempotency } from "./idempotency.ts";
import { mayLetGo } from "./may-let-go.ts";

/** An answer leaves this long before the caller's deadline, so that it arrives, ms. */
const deadlineMargin = 250;

/** Pause and resume of one workflow. */
export class ControlService {
  readonly #brakes: Brakes;
  readonly #commands: PauseCommands;
  readonly #workflows: Workflows;
  readonly #policy: Policy;
  readonly #idempotency: Idempotency;

  constructor(brakes: Brakes, commands: PauseCommands, workflows: Workflows, policy: Policy, idempotency: Idempotency) {
    this.#policy = policy;
    this.#brakes = brakes;
    this.#commands = commands;
    this.#workflows = workflows;
    this.#idempotency = idempotency;
  }

  pause(request: PauseWorkflowRequest, context: HandlerContext): Promise<PauseWorkflowResponse> {
    return this.#idempotency.once({
      call: callerOf(context).call,
      requestId: request.requestId,
      input: { schema: PauseWorkflowRequestSchema, message: request },
      output: PauseWorkflowResponseSchema,
      signal: context.signal,
      work: async (claim) => {
        const expiresInMs = request.expiresIn && durationMs(request.expiresIn);
        const caller = callerOf(context);
        // What expires lets go by itself: who may not let go may not have it expire.
        if (request.expiresIn) await mayLetGo(this.#policy, caller, [targetOf(caller.call)], request, context.signal);
        const work = (command: ControlCommand) => this.#commands.pause({ ...command, expiresInMs });
        return create(PauseWorkflowResponseSchema, await this.#control("pause", request, context, claim, work));
      },
      recall: async (brakeId) => create(PauseWorkflowResponseSchema, await this.#recall("pause", context, brakeId)),
    });
  }

  resume(request: ResumeWorkflowRequest, context: HandlerContext): Promise<ResumeWorkflowResponse> {
    return this.#idempotency.once({
      call: callerOf(context).call,
      requestId: request.requestId,
      input: { schema: ResumeWorkflowRequestSchema, message: request },
      output: ResumeWorkflowResponseSchema,
      signal: context.signal,
      work: async (claim) => {
        const work = (command: ControlCommand) => this.#commands.resume(command);
        return create(ResumeWorkflowResponseSchema, await this.#control("resume", request, context, claim, work));
      },
      recall: async (brakeId) => create(ResumeWorkflowResponseSchema, await this.#recall("resume", context, brakeId)),
    });
  }

  /** What both have in common: check, do, wait, look again, tell. */
  async #control(
    action: Action,
    request: PauseWorkflowRequest | ResumeWorkflowRequest,
    context: HandlerContext,
    claim: Claim | undefined,
    work: (command: ControlCommand) => Promise<ControlResult>,
  ): Promise<ControlAnswer> {
    const { call, principal, entryId } = callerOf(context);
    const target = targetOf(call);
    const { workflowId } = target;
    const result = await work({
      workflowId,
      reason: request.reason,
      emergency: request.emergency,
      subject: principal.subject,
      issuer: principal.issuer,
      entryId,
      claim,
      validateOnly: request.validateOnly,
      precondition: async () => {
        if (request.etag === "") return;
        const current = await this.#workflows.get(workflowId, context.signal);
        if (current.etag !== request.etag) throw etagMismatch(current);
      },
    });
    if (request.validateOnly || result.held === undefined) return this.#answer(action, target, target, call, undefined);
    const { brake: done } = result.held;
    const { brakeId } = done;
    call.brakeId = brakeId;
    const now = () => {
      const brake = this.#brakes.active(brakeId);
      const hold = this.#brakes.hold(brakeId, workflowId);
      return brake && hold && !hold.halt.settled ? { brake, hold } : undefined;
    };
    const waitMs = Math.min(
      request.wait ? durationMs(request.wait) : 0,
      (context.timeoutMs() ?? Number.POSITIVE_INFINITY) - deadlineMargin,
    );
    if (waitMs > 0) {
      const done = () => {
        const held = now();
        return held === undefined || (holds(held) && held.hold.halt.standstillTime !== undefined);
      };
      await until(this.#brakes, done, waitMs, context.signal);
    }
    const held = now() ?? result.held;
    const after = await this.#readBack(action, target);
    call.observedStatus = after.status;
    return this.#answer(action, after, { ...target, status: result.previousStatus }, call, held);
  }

  /** What a request did before a crash, told by the brake that it took effect on and by what is seen now. */
  async #recall(action: Action, context: HandlerContext, brakeId: string): Promise<ControlAnswer> {
    const { call } = callerOf(context);
    const target = targetOf(call);
    call.brakeId = brakeId;
    // As the first time: the pause on it is released, but others hold it.
    const others = action === "resume" ? this.#brakes.on(target.workflowId).filter(holds) : [];
    if (others.length > 0) throw heldByOthers(target.workflowId, others, "its pause is released, but ");
    const found = await this.#brakes.find(brakeId);
    const hold = found?.holds.find((one) => one.workflowId === target.workflowId);
    return this.#answer(action, target, target, call, found && hold ? { brake: found.brake, hold } : undefined);
  }

  /** The answer tells what is, not what was asked for. What was done is done, also where the engine does not answer now. */
  async #readBack(action: Action, target: Workflow): Promise<Workflow> {
    try {
      return await this.#workflows.get(target.workflowId);
    } catch (error) {
      if (!(error instanceof MissionControlError)) throw error;
      const status = action === "pause" ? Status.PAUSING : Status.RESUMING;
      return {
        ...target,
        status,
        statusDetail: `it is recorded and will be carried out; not seen yet: ${error.message}`,
      };
    }
  }

  #answer(action: Action, after: Workflow, before: Workflow, call: Call, held: ControlResult["held"]): ControlAnswer {
    const pause = action === "pause";
    const time = pause ? held?.brake.engageTime : held?.brake.release?.time;
    // Where it was so before, it is somebody else's doing: theirs is the name, the time and the reason.
    const author = pause ? held?.brake.engagedBy : held?.brake.release?.by;
    const receipt = held ? receiptOf(held.hold) : after.haltReceipt;
    return {
      workflowId: after.workflowId,
      action,
      previousStatus: before.status,
      newStatus: after.status,
      controlledBy: author ?? call.principal?.subject ?? "",
      controlledAt: timestampFromMs(time ?? Date.now()),
      auditEntryId: call.entryId ?? "",
      brakeId: held?.brake.brakeId ?? "",
      statusDetail: after.statusDetail,
      ...(receipt ? { haltReceipt: receipt } : {}),
    };
  }
}

type Action = "pause" | "resume";

/** The two answers have the same fields. */
type ControlAnswer = MessageInitShape<typeof PauseWorkflowResponseSchema> &
  MessageInitShape<typeof ResumeWorkflowResponseSchema>;

function etagMismatch(current: Workflow): MissionControlError {
  return new MissionControlError(
    "ETAG_MISMATCH",
    `"${current.workflowId}" has changed since: it is ${statusName(current.status)} now; look again and decide anew`,
    { metadata: { workflow_id: current.workflowId, etag: current.etag, status: statusName(current.status) } },
  );
}
