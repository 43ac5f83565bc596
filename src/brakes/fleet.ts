import { fromJson, toJson } from "@bufbuild/protobuf";
import { type Selector, SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Engine, EngineWorkflow } from "../engines/engine.ts";
import { isOutage, within } from "../engines/outage.ts";
import type { EngineRegistry } from "../engines/registry.ts";
import { parseWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";
import { Reach } from "../policy/reach.ts";
import type { Brake, Hold } from "../store/brake.ts";
import { type BlastRadius, defaultBlastRadius, radiusOf } from "./blast-radius.ts";
import type { Brakes, Claim } from "./brakes.ts";
import { type Catching, catchAll } from "./catch.ts";
import { boundedExpiry } from "./expiry.ts";
import type { Gates } from "./gates.ts";
import { holds } from "./halt.ts";
import { lockOf, stageSize } from "./lifecycle.ts";
import type { Outages } from "./outages.ts";
import { newBrakeId } from "./pause.ts";
import { Resolved, type UnreachableEngine } from "./resolved.ts";
import { type CompiledSelector, compileSelector } from "./selector.ts";

/**
 * Workflows that are caught in one write. The first of them are few, so that the engine is asked for them as soon as possible;
 * the others are written while it is busy with those.
 */
const pages = { first: 1_000, other: 10_000 } as const;

/** Of several engines, one that has not said within this time what it runs is caught up with later, ms. */
const answerWithinMs = 2_000;

/** What is configured for fleets. */
export interface FleetRules {
  readonly blastRadius: BlastRadius;
  /** How many may have come or gone between the asking and the approval: the greater of both. */
  readonly tolerance: { readonly count: number; readonly percent: number };
  /** The longest that a brake may hold, ms; undefined: until somebody releases it. */
  readonly longestMs: number | undefined;
  /** An emergency above the radius is released where nobody approved it by then, ms. */
  readonly approveWithinMs: number;
}

export const defaultFleetRules: FleetRules = {
  blastRadius: defaultBlastRadius,
  longestMs: undefined,
  tolerance: { count: 5, percent: 10 },
  approveWithinMs: 60 * 60_000,
};

/** Who asks, and why. */
export interface Asking {
  readonly subject: string;
  readonly issuer: string;
  readonly reason: string;
  /** The durable INTENT entry. */
  readonly entryId: string;
  /** The idempotent request that it is; undefined where it has no request_id. */
  readonly claim: Claim | undefined;
}

/** What EngageBrake asks for. */
export interface EngageFleet extends Asking {
  readonly selector: Selector;
  /** What it matches now. */
  readonly resolved: Resolved;
  readonly includeDescendants: boolean;
  readonly ticket: string;
  readonly emergency: boolean;
  readonly expiresInMs: number | undefined;
  /** "" for whatever matches. */
  readonly expectedSetHash: string;
  /** What the author reaches: it holds nothing beyond. */
  readonly reach: Reach;
  /** The author's roles that reach all that it matches: theirs is the blast radius. */
  readonly roles: readonly string[];
}

/** What there was to be caught on an engine at the engagement. */
interface Look {
  readonly engine: string;
  readonly rows: readonly EngineWorkflow[];
  /** Those of them that a gate has paused. */
  readonly byGate: ReadonlySet<string>;
}

/** Engages, approves and releases brakes on whatever their selectors match. */
export class FleetCommands {
  readonly #brakes: Brakes;
  readonly #engines: EngineRegistry;
  readonly #catching: Catching;
  readonly #gates: Gates;
  readonly #outages: Outages;
  readonly #rules: FleetRules;

  constructor(
    brakes: Brakes,
    engines: EngineRegistry,
    catching: Catching,
    gates: Gates,
    outages: Outages,
    rules: FleetRules,
  ) {
    this.#outages = outages;
    this.#brakes = brakes;
    this.#engines = engines;
    this.#catching = catching;
    this.#gates = gates;
    this.#rules = rules;
  }

  /**
   * What the selector matches now, as far as engines answer. Throws SELECTOR_EMPTY, SELECTOR_INVALID, and ENGINE_UNAVAILABLE
   * where none of them does.
   */
  async resolve(
    selector: Selector,
    includeDescendants: boolean,
    reach: Reach,
    signal?: AbortSignal,
  ): Promise<Resolved> {
    const engines = this.#engines.select();
    const compiled = compileSelector(
      selector,
      engines.map(({ name }) => name),
      reach,
    );
    const asked = engines.filter(({ name }) => compiled.listQuery(name) !== undefined);
    const answers = await Promise.allSettled(
      asked.map((engine) => this.#open(engine, compiled, includeDescendants, asked.length > 1, signal)),
    );
    signal?.throwIfAborted();
    const byEngine = new Map<Engine, readonly EngineWorkflow[]>();
    const unreachable: UnreachableEngine[] = [];
    let fault: MissionControlError | undefined;
    for (const [index, engine] of asked.entries()) {
      const answer = answers[index];
      if (answer?.status === "rejected") {
        if (!isOutage(answer.reason)) throw answer.reason;
        const { message } = answer.reason;
        unreachable.push({ engine: engine.name, message, since: this.#outages.began(engine.name, message) });
        fault ??= answer.reason;
        continue;
      }
      this.#outages.ended(engine.name);
      byEngine.set(engine, withDescendants(engine.name, answer?.value ?? [], compiled, includeDescendants));
    }
    if (fault !== undefined && unreachable.length === asked.length) throw fault;
    return new Resolved(compiled, byEngine, unreachable);
  }

  /** The widest blast radius of these roles. */
  radius(roles: readonly string[]): number {
    return radiusOf(this.#rules.blastRadius, roles);
  }

  /** Engages it, or leaves it to wait for a second person. */
  async engage(command: EngageFleet): Promise<Brake> {
    const { resolved } = command;
    if (command.expectedSetHash !== "" && command.expectedSetHash !== resolved.setHash) {
      throw new MissionControlError(
        "SET_CHANGED",
        `${resolved.count} workflows match now, and not the same as in the preview: preview again and decide anew`,
        { metadata: { matched: String(resolved.count), set_hash: resolved.setHash } },
      );
    }
    const now = Date.now();
    const radius = this.radius(command.roles);
    const needsApproval = resolved.count > radius;
    const waits = needsApproval && !command.emergency;
    const brake: Brake = {
      brakeId: newBrakeId(),
      selector: toJson(SelectorSchema, command.selector),
      workflowId: "",
      scopes: command.reach.scopes,
      includeDescendants: command.includeDescendants,
      state: waits ? "AWAITING_APPROVAL" : "ENGAGED",
      reason: command.reason,
      ticket: command.ticket,
      emergency: command.emergency,
      engagedBy: command.subject,
      issuer: command.issuer,
      radius: Number.isFinite(radius) ? radius : undefined,
      createTime: now,
      engageTime: waits ? undefined : now,
      expiresInMs: boundedExpiry(command.expiresInMs, this.#rules.longestMs),
      expiryWarned: false,
      engageEntryId: command.entryId,
      approval: needsApproval
        ? {
            matched: resolved.count,
            setHash: resolved.setHash,
            ids: waits ? resolved.ids : [],
            tolerance: this.#tolerance(resolved.count),
            approvedBy: "",
            approveTime: undefined,
            approveEntryId: "",
            approveBy: waits ? undefined : now + this.#rules.approveWithinMs,
          }
        : undefined,
      release: undefined,
      gates: waits ? [] : this.#attachedGates(),
    };
    const looks = waits ? undefined : await this.#looks(resolved);
    const about = {
      message: `${waits ? "asked for" : "engaged"} by ${command.subject} on ${resolved.selector.describe()}: ${matchesOf(resolved)}`,
      reason: command.reason,
      emergency: command.emergency,
      intentEntryId: command.entryId,
    };
    if (looks === undefined) {
      await this.#brakes.update("brake.awaiting-approval", { brakes: [brake], claim: command.claim }, about);
    } else {
      const { selector } = resolved;
      const write = () => this.#writeEngaged(brake, selector, looks, command.claim, about);
      await this.#brakes.exclusively(brake.brakeId, write);
    }
    return brake;
  }

  /** A second person says yes: it engages, or, for an emergency, stays. */
  approve(brakeId: string, asking: Asking): Promise<Brake> {
    return this.#brakes.exclusively(brakeId, async () => {
      const brake = await this.#active(brakeId);
      const { approval } = brake;
      if (
        approval === undefined ||
        approval.approvedBy !== "" ||
        brake.state === "RELEASED" ||
        brake.state === "EXPIRED"
      ) {
        throw new MissionControlError(
          "BRAKE_NOT_AWAITING",
          `"${brakeId}" does not wait for an approval (${brake.state})`,
          {
            metadata: { brake_id: brakeId, state: brake.state },
          },
        );
      }
      if (asking.subject === brake.engagedBy) {
        throw new MissionControlError(
          "APPROVER_IS_REQUESTER",
          `"${brakeId}" was asked for by ${brake.engagedBy}: somebody else has to approve it`,
          { metadata: { brake_id: brakeId } },
        );
      }
      const now = Date.now();
      const approved = {
        ...approval,
        ids: [],
        approvedBy: asking.subject,
        approveTime: now,
        approveEntryId: asking.entryId,
      };
      const about = { reason: asking.reason, emergency: brake.emergency, intentEntryId: asking.entryId };
      if (brake.state === "ENGAGED") {
        const next: Brake = { ...brake, approval: approved };
        await this.#brakes.update(
          "brake.approved",
          { brakes: [next], claim: asking.claim },
          { ...about, message: `approved by ${asking.subject}` },
        );
        return next;
      }
      const selector = fromJson(SelectorSchema, brake.selector);
      const resolved = await this.resolve(selector, brake.includeDescendants, new Reach(brake.scopes));
      // What an engine runs that does not answer has neither come nor gone.
      const away = new Set(resolved.unreachable.map(({ engine }) => engine));
      const expected = approval.ids.filter((workflowId) => !away.has(parseWorkflowId(workflowId)?.engine ?? ""));
      const drift = new Set(resolved.ids).symmetricDifference(new Set(expected)).size;
      if (drift > approval.tolerance) {
        throw new MissionControlError(
          "SET_CHANGED",
          `${drift} workflows have come or gone since it was asked for (at most ${approval.tolerance} may): ask for it anew`,
          { metadata: { brake_id: brakeId, matched: String(resolved.count), expected: String(approval.matched) } },
        );
      }
      const next: Brake = {
        ...brake,
        state: "ENGAGED",
        engageTime: now,
        approval: approved,
        gates: this.#attachedGates(),
      };
      await this.#writeEngaged(next, resolved.selector, await this.#looks(resolved), asking.claim, {
        ...about,
        message: `approved by ${asking.subject}, engaged: ${matchesOf(resolved)}`,
      });
      return next;
    });
  }

  /** Lets it go: all at once, or its first stage. */
  async release(brakeId: string, asking: Asking, staged: NonNullable<Brake["release"]>["staged"]): Promise<Brake> {
    const found = await this.#active(brakeId);
    return this.#brakes.exclusively(lockOf(found), async () => {
      const brake = await this.#active(brakeId);
      const now = Date.now();
      const count = this.#brakes.holdCount(brakeId);
      const inStages = staged !== undefined && brake.state === "ENGAGED" && count > 0;
      const next: Brake = {
        ...brake,
        state: inStages ? "ENGAGED" : "RELEASED",
        release: {
          by: asking.subject,
          reason: asking.reason,
          time: now,
          entryId: asking.entryId,
          staged: inStages ? staged : undefined,
          // What an earlier staged release has let go stays so.
          letGo: inStages ? Math.max(stageSize(count, staged.percent), brake.release?.letGo ?? 0) : 0,
          stageTime: now,
          haltedBecause: "",
        },
      };
      await this.#brakes.update(
        inStages ? "brake.stage" : "brake.released",
        { brakes: [next], claim: asking.claim },
        {
          message: inStages
            ? `released in stages by ${asking.subject}: ${next.release?.letGo} of ${count} are let go first`
            : `released by ${asking.subject}`,
          reason: asking.reason,
          emergency: brake.emergency,
          intentEntryId: asking.entryId,
        },
      );
      return next;
    });
  }

  /** Workflows of the brake that others hold, at most 100. */
  stillHeld(brakeId: string): { workflowId: string; brakeIds: string[] }[] {
    const found: { workflowId: string; brakeIds: string[] }[] = [];
    for (const { workflowId } of this.#brakes.holdsOf(brakeId)) {
      const brakeIds = this.#brakes
        .on(workflowId)
        .filter((held) => held.brake.brakeId !== brakeId && holds(held))
        .map(({ brake }) => brake.brakeId);
      if (brakeIds.length > 0) found.push({ workflowId, brakeIds });
      if (found.length === 100) break;
    }
    return found;
  }

  /** A brake that is engaged or waits; throws BRAKE_NOT_FOUND, BRAKE_NOT_ENGAGED. */
  async #active(brakeId: string): Promise<Brake> {
    const found = await this.#brakes.find(brakeId);
    if (!found) throw brakeNotFound(brakeId);
    const { brake } = found;
    if (brake.state === "ENGAGED" || brake.state === "AWAITING_APPROVAL") return brake;
    throw new MissionControlError("BRAKE_NOT_ENGAGED", `"${brakeId}" is ${brake.state} already: it holds nothing`, {
      metadata: { brake_id: brakeId, state: brake.state },
    });
  }

  /** What a brake is to catch at its engagement, but for engines that do not answer any more: there it is caught up with later. */
  async #looks(resolved: Resolved): Promise<Look[]> {
    const looks = [...resolved.byEngine].map(async ([engine, rows]): Promise<Look[]> => {
      const byGate = await this.#pausedByGate(engine, rows);
      return byGate === undefined ? [] : [{ engine: engine.name, rows, byGate }];
    });
    return (await Promise.all(looks)).flat();
  }

  /**
   * Writes an engaged brake with the first page of what it catches, then the other pages: the engine is asked for what is
   * written while the next page is made. From the first page on it is engaged: what the disk refuses after that, or a crash
   * leaves out, the reconciler catches.
   */
  #writeEngaged(
    brake: Brake,
    selector: CompiledSelector,
    looks: readonly Look[],
    claim: Claim | undefined,
    about: Parameters<Brakes["update"]>[2],
  ): Promise<void> {
    const on = new Set(looks.filter(({ rows }) => rows.length > 0).map(({ engine }) => engine));
    return this.#catching.writing(brake.brakeId, on, async () => {
      const first = this.#catch(brake, selector, looks, pages.first);
      await this.#brakes.update("brake.engaged", { brakes: [brake], holds: first, claim }, about);
      try {
        const others = this.#catch(brake, selector, looks);
        for (let from = 0; from < others.length; from += pages.other) {
          const holds = others.slice(from, from + pages.other);
          const before = first.length + from;
          const message = `caught ${before + 1} to ${before + holds.length} of ${first.length + others.length}`;
          await this.#brakes.update("brake.caught", { holds }, { ...about, message });
        }
      } catch {
        return;
      }
      for (const { engine } of looks) this.#catching.looked(brake, engine);
    });
  }

  /** The holds that it does not have yet, on each engine from the first so many. */
  #catch(brake: Brake, selector: CompiledSelector, looks: readonly Look[], most?: number): Hold[] {
    const all: Hold[] = [];
    for (const { engine, rows, byGate } of looks) {
      const some = rows.slice(0, most);
      const before = all.length;
      for (const hold of catchAll(this.#brakes, selector, brake, engine, some, "engagement", byGate)) {
        all.push(before === 0 ? hold : { ...hold, order: hold.order + before });
      }
    }
    return all;
  }

  /** Those that a gate has paused; undefined where the engine does not answer any more: then it is caught up with later. */
  async #pausedByGate(engine: Engine, rows: readonly EngineWorkflow[]): Promise<ReadonlySet<string> | undefined> {
    const paused = rows.filter((row) => row.status === "paused").map((row) => row.id);
    if (paused.length === 0) return new Set();
    try {
      return await within(engine.name, answerWithinMs, undefined, (signal) => engine.pausedByGate(paused, signal));
    } catch (error) {
      if (!isOutage(error)) throw error;
      this.#outages.began(engine.name, error.message);
      return undefined;
    }
  }

  #open(
    engine: Engine,
    compiled: CompiledSelector,
    children: boolean,
    among: boolean,
    signal: AbortSignal | undefined,
  ): Promise<EngineWorkflow[]> {
    const query = { anyOf: [{ ...compiled.listQuery(engine.name), statuses: undefined }], children, paused: true };
    if (!among) return engine.open(query, signal);
    return within(engine.name, answerWithinMs, signal, (bounded) => engine.open(query, bounded));
  }

  #attachedGates(): Brake["gates"] {
    return this.#gates.attached().map(({ gate }) => ({ gate, ackTime: undefined }));
  }

  #tolerance(count: number): number {
    const { tolerance } = this.#rules;
    return Math.max(tolerance.count, Math.floor((count * tolerance.percent) / 100));
  }
}

/** "12 match", with the engines that did not answer. */
function matchesOf({ count, unreachable }: Resolved): string {
  const away = unreachable.map(({ engine }) => engine);
  return `${count} match${away.length > 0 ? `; unreachable: ${away.join(", ")}` : ""}`;
}

/** @param unsaid for the ledger only: nobody may tell what is hidden from what is not there. */
export function brakeNotFound(brakeId: string, unsaid = ""): MissionControlError {
  return new MissionControlError("BRAKE_NOT_FOUND", `there is no brake "${brakeId}": list them to see the ids`, {
    metadata: { brake_id: brakeId },
    unsaid,
  });
}

/** Those that the selector matches, and where wanted their children, and theirs. */
function withDescendants(
  engine: string,
  rows: readonly EngineWorkflow[],
  selector: CompiledSelector,
  include: boolean,
): EngineWorkflow[] {
  const matched = new Map<string, EngineWorkflow>();
  for (const row of rows) if (selector.matches(engine, row)) matched.set(row.id, row);
  const children = include ? rows.filter((row) => row.parentId !== undefined && selector.admits(engine, row)) : [];
  for (let before = -1; before !== matched.size; ) {
    before = matched.size;
    for (const row of children) if (matched.has(row.parentId ?? "")) matched.set(row.id, row);
  }
  return [...matched.values()];
}
