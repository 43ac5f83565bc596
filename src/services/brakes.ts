import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  ApproveBrakeRequestSchema,
  ApproveBrakeResponseSchema,
  type Brakes as BrakesService,
  type Brake as BrakeView,
  EngageBrakeRequestSchema,
  EngageBrakeResponseSchema,
  GetBrakeResponseSchema,
  ListBrakesResponseSchema,
  type PreviewBrakeResponse,
  PreviewBrakeResponseSchema,
  ReleaseBrakeRequestSchema,
  ReleaseBrakeResponseSchema,
  type Selector,
  SelectorSchema,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { type SeenBrake, seenWithin } from "../brakes/brake-sight.ts";
import { brakeViewOf, stateNames } from "../brakes/brake-view.ts";
import { watchBrake } from "../brakes/brake-watch.ts";
import type { Brakes, Claim } from "../brakes/brakes.ts";
import type { Catching } from "../brakes/catch.ts";
import { deadlinesAtRisk, horizonMs, soonest } from "../brakes/deadlines.ts";
import type { Drills } from "../brakes/drill.ts";
import { expireTimeOf } from "../brakes/expiry.ts";
import { brakeNotFound, type FleetCommands } from "../brakes/fleet.ts";
import type { GateRules } from "../brakes/gate-rules.ts";
import type { Gates } from "../brakes/gates.ts";
import { notLetGo } from "../brakes/not-let-go.ts";
import { openByIds } from "../brakes/open-by-ids.ts";
import type { Outages } from "../brakes/outages.ts";
import { OverViews } from "../brakes/over-views.ts";
import { mayRerun } from "../brakes/reruns.ts";
import type { Resolved } from "../brakes/resolved.ts";
import { until } from "../brakes/wait.ts";
import type { Workflows } from "../brakes/workflows.ts";
import type { Engine, EngineWorkflow } from "../engines/engine.ts";
import { within } from "../engines/outage.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import { reachOf } from "../interceptors/authorize.ts";
import { questionOf } from "../interceptors/question.ts";
import type { Access } from "../policy/access.ts";
import type { Policy } from "../policy/policy.ts";
import type { Reach } from "../policy/reach.ts";
import type { Brake, Hold } from "../store/brake.ts";
import type { BrakeQuery, Store } from "../store/store.ts";
import { type BrakeTargets, beyondReach } from "./brake-targets.ts";
import { callerOf } from "./caller.ts";
import { drillBrake } from "./drill.ts";
import { heldViews } from "./held-views.ts";
import type { Idempotency } from "./idempotency.ts";
import { mayLetGo } from "./may-let-go.ts";

const defaults = { sample: 10, page: 50, gateWaitMs: 1_000 } as const;
/** An answer leaves this long before the caller's deadline, so that it arrives, ms. */
const deadlineMargin = 250;
/** Of a brake on very many, so many are looked at for their deadlines. */
const deadlinesOf = 1_000;
/** While more than this are on their way to a stand, engines are not asked for deadlines. */
const manyComing = 100;
/** What no engine has accepted to halt so long after it was asked for has not begun, and is on no way to a stand, ms. */
const acceptedWithinMs = 5_000;
/** An engine that has not told of them within this time is left out, ms. */
const deadlinesWithinMs = 2_000;

/** What the Brakes service needs. */
export interface BrakesServiceDeps {
  readonly brakes: Brakes;
  readonly commands: FleetCommands;
  readonly targets: BrakeTargets;
  readonly catching: Catching;
  readonly engines: EngineRegistry;
  readonly gates: Gates;
  readonly outages: Outages;
  readonly gateRules: GateRules;
  readonly workflows: Workflows;
  readonly drills: Drills;
  readonly store: Store;
  readonly idempotency: Idempotency;
  readonly policy: Policy;
  readonly access: Access;
}

/** The Brakes service: translate, call, translate. */
export function brakesService(deps: BrakesServiceDeps): ServiceImpl<typeof BrakesService> {
  const { brakes, commands, gateRules, idempotency } = deps;
  const over = new OverViews(brakes);

  return {
    async previewBrake(request, context) {
      const reach = reachOf(callerOf(context).call);
      const resolved = await commands.resolve(wanted(request), !request.excludeDescendants, reach, context.signal);
      return preview(deps, resolved, request, context);
    },

    engageBrake(request, context) {
      const { call, principal, entryId } = callerOf(context);
      const reach = reachOf(call);
      const work = async (claim: Claim | undefined) => {
        const includeDescendants = !request.excludeDescendants;
        const resolved = deps.targets.resolvedOf(call);
        if (resolved === undefined) throw new Error("policy was not told what the selector matches");
        if (request.validateOnly) {
          const plan = await preview(deps, resolved, { ...request, sampleSize: 0 }, context);
          return create(EngageBrakeResponseSchema, { auditEntryId: entryId, preview: plan });
        }
        if (request.expiresIn) {
          // What expires lets go by itself: who may not let go may not have it expire.
          await mayLetGo(deps.policy, callerOf(context), viewsOf(deps, resolved.byEngine), request, context.signal);
        }
        const brake = await commands.engage({
          subject: principal.subject,
          issuer: principal.issuer,
          reason: request.reason,
          entryId,
          selector: wanted(request),
          resolved,
          includeDescendants,
          ticket: request.ticket,
          emergency: request.emergency,
          expiresInMs: request.expiresIn && durationMs(request.expiresIn),
          expectedSetHash: request.expectedSetHash,
          reach,
          roles: deps.targets.rolesToEngage(principal, resolved),
          claim,
        });
        call.brakeId = brake.brakeId;
        await settleEngagement(deps, brake, {
          waitMs: budget(context, request.wait && durationMs(request.wait)),
          gateWaitMs: budget(context, request.gateWait ? durationMs(request.gateWait) : defaults.gateWaitMs),
          signal: context.signal,
        });
        return create(EngageBrakeResponseSchema, {
          brake: await view(deps, brake.brakeId, reachOf(call)),
          auditEntryId: entryId,
        });
      };
      return idempotency.once({
        call,
        requestId: request.requestId,
        input: { schema: EngageBrakeRequestSchema, message: request },
        output: EngageBrakeResponseSchema,
        signal: context.signal,
        work,
        recall: async (brakeId) =>
          create(EngageBrakeResponseSchema, { brake: await view(deps, brakeId, reach), auditEntryId: entryId }),
      });
    },

    async getBrake(request, context) {
      const brake = await view(deps, request.brakeId, reachOf(callerOf(context).call));
      return create(GetBrakeResponseSchema, { brake });
    },

    async listBrakes(request, context) {
      const limit = request.pageSize || defaults.page;
      const query = {
        states: request.state.map((state) => stateNames[state]).filter((name) => name !== undefined),
        before: request.pageToken || undefined,
        limit: limit + 1,
      };
      const found = await listViews(deps, over, query, reachOf(callerOf(context).call), context.signal);
      const page = found.slice(0, limit);
      return create(ListBrakesResponseSchema, {
        brakes: page,
        nextPageToken: found.length > limit ? (page.at(-1)?.brakeId ?? "") : "",
      });
    },

    watchBrake: (request, context) => {
      const reach = reachOf(callerOf(context).call);
      return watchBrake(brakes, deps, request.brakeId, request.includeWorkflows, reach, context.signal);
    },

    approveBrake(request, context) {
      const { call, principal, entryId } = callerOf(context);
      const reach = reachOf(call);
      const work = async (claim: Claim | undefined) => {
        await mustBeWhole(deps, request.brakeId, reach, "approving");
        call.brakeId = request.brakeId;
        const brake = await commands.approve(request.brakeId, {
          subject: principal.subject,
          issuer: principal.issuer,
          reason: request.reason,
          entryId,
          claim,
        });
        await settleEngagement(deps, brake, {
          waitMs: 0,
          gateWaitMs: budget(context, defaults.gateWaitMs),
          signal: context.signal,
        });
        return create(ApproveBrakeResponseSchema, {
          brake: await view(deps, brake.brakeId, reachOf(call)),
          auditEntryId: entryId,
        });
      };
      return idempotency.once({
        call,
        requestId: request.requestId,
        input: { schema: ApproveBrakeRequestSchema, message: request },
        output: ApproveBrakeResponseSchema,
        signal: context.signal,
        work,
        recall: async (brakeId) =>
          create(ApproveBrakeResponseSchema, { brake: await view(deps, brakeId, reach), auditEntryId: entryId }),
      });
    },

    releaseBrake(request, context) {
      const { call, principal, entryId } = callerOf(context);
      const reach = reachOf(call);
      const work = async (claim: Claim | undefined) => {
        const found = await mustBeWhole(deps, request.brakeId, reach, "releasing");
        call.brakeId = request.brakeId;
        mayRelease(deps.access, principal, found);
        const held = await heldViews(deps, found.holds, context.signal);
        const asking = { reason: request.reason, emergency: found.brake.emergency };
        await mayLetGo(deps.policy, callerOf(context), held, asking, context.signal);
        const stillHeld = commands.stillHeld(request.brakeId);
        if (!request.validateOnly) {
          const { staged } = request;
          await commands.release(
            request.brakeId,
            { ...principal, reason: request.reason, entryId, claim },
            staged && {
              percent: staged.percent,
              watchMs: staged.watch ? durationMs(staged.watch) : 0,
              maxFailures: staged.maxFailures,
            },
          );
          await gateRules.sync();
          const waitMs = budget(context, request.wait && durationMs(request.wait));
          if (waitMs > 0) {
            await until(brakes, () => brakes.active(request.brakeId) === undefined, waitMs, context.signal);
          }
        }
        return create(ReleaseBrakeResponseSchema, {
          brake: await view(deps, request.brakeId, reach),
          auditEntryId: entryId,
          stillHeld,
          notLetGo: notLetGo(deps, request.brakeId),
        });
      };
      return idempotency.once({
        call,
        requestId: request.requestId,
        input: { schema: ReleaseBrakeRequestSchema, message: request },
        output: ReleaseBrakeResponseSchema,
        signal: context.signal,
        work,
        recall: async (brakeId) => {
          const stillHeld = commands.stillHeld(brakeId);
          return create(ReleaseBrakeResponseSchema, {
            brake: await view(deps, brakeId, reach),
            auditEntryId: entryId,
            stillHeld,
            notLetGo: notLetGo(deps, brakeId),
          });
        },
      });
    },

    drillBrake: (request, context) => drillBrake(deps.drills, request, context),
  };
}

function wanted(request: { readonly selector?: Selector | undefined }): Selector {
  return request.selector ?? create(SelectorSchema);
}

/** No longer than the caller's deadline allows. */
function budget(context: HandlerContext, ms = 0): number {
  return Math.max(0, Math.min(ms, (context.timeoutMs() ?? Number.POSITIVE_INFINITY) - deadlineMargin));
}

/** Waits for the gates' confirmations and for the standstill, and keeps the former with the brake. */
async function settleEngagement(
  { brakes, gateRules, outages }: BrakesServiceDeps,
  brake: Brake,
  wait: { waitMs: number; gateWaitMs: number; signal: AbortSignal },
): Promise<void> {
  if (brake.state !== "ENGAGED") return;
  const began = performance.now();
  const gates = await gateRules.confirmed(wait.gateWaitMs).catch(() => []);
  if (gates.length > 0) {
    // The brake is engaged: that the confirmations could not be written is told by the ledger's own fault.
    const noted = brakes.exclusively(brake.brakeId, async () => {
      const current = brakes.active(brake.brakeId);
      if (!current) return;
      const silent = gates.filter(({ ackTime }) => ackTime === undefined).map(({ gate }) => gate);
      const message = `${gates.length - silent.length} of ${gates.length} gates confirmed${silent.length > 0 ? `; silent: ${silent.slice(0, 10).join(", ")}` : ""}`;
      await brakes.update("brake.gates", { brakes: [{ ...current, gates }] }, { message, reason: brake.reason });
    });
    await noted.catch(() => undefined);
  }
  const left = wait.waitMs - (performance.now() - began);
  if (left <= 0) return;
  const done = () => {
    const all = brakes.holdsOf(brake.brakeId);
    if (outages.hidesFrom(brake)) return false;
    return all.every((hold) => hold.late || hold.ended || hold.halt.standstillTime !== undefined);
  };
  await until(brakes, done, left, wait.signal);
}

/** Brakes of which something is within reach, the newest first, up to the query's limit. */
async function listViews(
  deps: BrakesServiceDeps,
  over: OverViews,
  query: BrakeQuery,
  reach: Reach,
  signal: AbortSignal,
): Promise<BrakeView[]> {
  const { brakes, store } = deps;
  const viewed = async (brake: Brake): Promise<BrakeView | undefined> => {
    const isOver = !reach.isLimited && brakes.active(brake.brakeId) === undefined;
    const known = isOver ? over.get(brake, deps) : undefined;
    if (known) return known;
    const found = await brakes.find(brake.brakeId);
    const within = found && seenWithin(reach, found);
    return within && (isOver ? over.of(within, deps) : brakeViewOf(within, deps));
  };
  const views: BrakeView[] = [];
  for (let before = query.before; ; ) {
    const page = await store.listBrakes({ ...query, before });
    for (const brake of page) {
      const view = await viewed(brake);
      if (view) views.push(view);
    }
    before = page.at(-1)?.brakeId;
    // Many may be beyond reach: it goes on until there are no more, or the caller is gone.
    signal.throwIfAborted();
    if (views.length >= query.limit || page.length < query.limit) return views;
  }
}

/** The brake as far as it is within reach. Throws BRAKE_NOT_FOUND, exactly as where there is none. */
async function see({ brakes }: BrakesServiceDeps, brakeId: string, reach: Reach): Promise<SeenBrake> {
  const found = await brakes.find(brakeId);
  const seen = found && seenWithin(reach, found);
  if (seen) return seen;
  throw brakeNotFound(brakeId, found && `${brakeId} is there, beyond the scope of the caller's roles`);
}

/** Who approves or releases answers for all of it. Throws ROLE_DENIED where only a part of it is within reach. */
async function mustBeWhole(deps: BrakesServiceDeps, brakeId: string, reach: Reach, what: string): Promise<SeenBrake> {
  const seen = await see(deps, brakeId, reach);
  if (seen.whole) return seen;
  throw beyondReach(brakeId, what);
}

async function view(deps: BrakesServiceDeps, brakeId: string, reach: Reach) {
  const { catching, engines } = deps;
  const seen = await see(deps, brakeId, reach);
  const { brake, holds, whole } = seen;
  const result = brakeViewOf(seen, deps);
  if (brake.state !== "ENGAGED") return result;
  if (whole) result.expressionFailures = catching.selector(brake).errors.count;
  // What is asked of the engine meanwhile, it takes from the halt.
  const since = Date.now() - acceptedWithinMs;
  const comes = ({ acceptTime, requestTime, standstillTime }: Hold["halt"]) =>
    standstillTime === undefined && (acceptTime !== undefined || requestTime > since);
  const coming = holds.filter(({ halt, ended }) => !ended && comes(halt)).length;
  if (coming > manyComing) return result;
  const before = new Date(expireTimeOf(brake) ?? Date.now() + horizonMs);
  // Told as far as the engines answer: who asks for a brake gets it in any case, and waits for none that is slow.
  const configured = new Set(engines.select().map(({ name }) => name));
  const asked = holds.filter(({ workflowId }) => configured.has(parseWorkflowId(workflowId)?.engine ?? ""));
  const told = idsByEngine(engines, asked.slice(0, deadlinesOf)).map(([engine, ids]) =>
    within(engine.name, deadlinesWithinMs, undefined, async (signal) =>
      deadlinesAtRisk(new Map([[engine, await openByIds(engine, ids, signal)]]), before, signal),
    ).catch(() => []),
  );
  result.deadlinesAtRisk = soonest((await Promise.all(told)).flat());
  return result;
}

/** The engines of the holds that are not settled, each with its own ids of their workflows. */
function idsByEngine(engines: EngineRegistry, holds: readonly Hold[]): [Engine, string[]][] {
  const open = holds.filter((hold) => !hold.halt.settled).map(({ workflowId }) => parseWorkflowId(workflowId));
  const groups = Map.groupBy(open, (parsed) => parsed?.engine ?? "");
  return [...groups].map(([name, group]) => [engines.named(name), group.map((parsed) => parsed?.id ?? "")]);
}

/** These as callers see them. */
function viewsOf(
  { workflows }: BrakesServiceDeps,
  byEngine: ReadonlyMap<Engine, readonly EngineWorkflow[]>,
): Workflow[] {
  return [...byEngine].flatMap(([engine, rows]) => rows.map((row) => workflows.view(engine.name, row)));
}

/** One's own brake may be released by who engaged it; anybody's only with the permission for that, for all of it. */
function mayRelease(access: Access, principal: Principal, { brake, holds }: SeenBrake): void {
  if (brake.engagedBy === principal.subject && brake.issuer === principal.issuer) return;
  const any = access.reach(principal, "brakes.release_any");
  if (any && seenWithin(any, { brake, holds })?.whole) return;
  throw new MissionControlError(
    "ROLE_DENIED",
    `"${brake.brakeId}" was engaged by ${brake.engagedBy}: releasing somebody else's brake needs the permission brakes.release_any`,
    { metadata: { brake_id: brake.brakeId, permission: "brakes.release_any" } },
  );
}

async function preview(
  deps: BrakesServiceDeps,
  resolved: Resolved,
  request: { selector?: Selector | undefined; sampleSize: number; emergency: boolean; reason: string },
  context: HandlerContext,
): Promise<PreviewBrakeResponse> {
  const { call, principal } = callerOf(context);
  const { commands, gates, targets, workflows, policy } = deps;
  const rows = [...resolved.byEngine].flatMap(([engine, matched]) => matched.map((row) => ({ engine, row })));
  const newest = rows.toSorted((a, b) => b.row.createTime.getTime() - a.row.createTime.getTime());
  const shown = newest.slice(0, request.sampleSize || defaults.sample);
  const sample = shown.map(({ engine, row }) => workflows.view(engine.name, row));
  const now = Date.now();
  const decision = await policy.check(
    questionOf(call, {
      action: "runtime.brake",
      workflow: undefined,
      brake: targets.toEngage(principal, resolved, request.selector?.everything === true, request.emergency),
      reason: request.reason || "preview",
      emergency: request.emergency,
      hypothetical: true,
    }),
    context.signal,
  );
  const radius = commands.radius(targets.rolesToEngage(principal, resolved));
  const result = create(PreviewBrakeResponseSchema, {
    matched: resolved.count,
    setHash: resolved.setHash,
    sample: await workflows.withoutParents(reachOf(call), sample, context.signal),
    engines: [...resolved.byEngine].map(([engine, matched]) => ({
      engine: engine.name,
      matched: matched.length,
      running: matched.filter(({ status }) => status === "running").length,
      pending: matched.filter(({ status }) => status === "pending").length,
      paused: matched.filter(({ status }) => status === "paused").length,
      halt: engine.capabilities.halt,
      stepInFlight: engine.capabilities.stepInFlight,
      gates: gates.attached(engine.name).length,
    })),
    mayRerun: await mayRerun(resolved.byEngine, context.signal),
    needsApproval: resolved.count > radius,
    policyDenial: decision.allowed ? "" : decision.message,
    deadlinesAtRisk: await deadlinesAtRisk(resolved.byEngine, new Date(now + horizonMs), context.signal),
    expressionFailures: resolved.selector.errors.count,
    expressionFailureMessage: resolved.selector.errors.lastMessage,
    unreachableEngines: resolved.unreachable.map(({ engine, message, since }) => ({
      engine,
      since: timestampFromMs(since),
      message,
    })),
  });
  if (Number.isFinite(radius)) result.blastRadius = radius;
  return result;
}
