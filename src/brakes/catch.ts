import { fromJson } from "@bufbuild/protobuf";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { type EngineWorkflow, endedStatuses } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import { Reach } from "../policy/reach.ts";
import type { Brake, Hold, Traits } from "../store/brake.ts";
import type { Brakes } from "./brakes.ts";
import { beginHalt, holds } from "./halt.ts";
import { type CompiledSelector, recompileSelector } from "./selector.ts";

/** Which brakes catch workflows, and what they look for. */
export class Catching {
  readonly #brakes: Brakes;
  readonly #selectors = new Map<string, CompiledSelector>();
  /** "brakeId engine": looked at everything once since the server started. */
  readonly #looked = new Set<string>();
  /** Brakes for which a command is writing what it has caught, with the engines that it was caught on. */
  readonly #writing = new Map<string, ReadonlySet<string>>();

  constructor(brakes: Brakes) {
    this.#brakes = brakes;
  }

  /** Selectors' brakes that are engaged and not being let go. */
  engaged(): Brake[] {
    return [...this.#brakes.all()].filter((brake) => this.catches(brake));
  }

  /** Those of them to catch for: not those for which a command catches at this moment. */
  standing(): Brake[] {
    return this.engaged().filter(({ brakeId }) => !this.#writing.has(brakeId));
  }

  /** Runs while a command writes page by page what it has caught for a brake: nobody else catches for it meanwhile. */
  async writing(brakeId: string, engines: ReadonlySet<string>, write: () => Promise<void>): Promise<void> {
    this.#writing.set(brakeId, engines);
    try {
      await write();
    } finally {
      this.#writing.delete(brakeId);
    }
  }

  /** True while a command writes what it has caught on that engine, or on others as well. */
  isWriting(engine: string): boolean {
    return [...this.#writing.values()].some((engines) => engines.has(engine));
  }

  /** True where the brake catches what its selector matches; false for one on a single workflow. */
  catches(brake: Brake): boolean {
    if (brake.state !== "ENGAGED" || brake.workflowId !== "") return false;
    return brake.release === undefined || brake.release.haltedBecause !== "";
  }

  /** The brake as it is now, where it still catches: it may have been released since it was looked at. */
  still({ brakeId }: Brake): Brake | undefined {
    const brake = this.#brakes.active(brakeId);
    return brake && this.catches(brake) ? brake : undefined;
  }

  /** The brake's selector, compiled once. */
  selector(brake: Brake): CompiledSelector {
    const known = this.#selectors.get(brake.brakeId);
    if (known) return known;
    // About as many as there are brakes: what is over is forgotten when there are too many.
    if (this.#selectors.size > 2 * this.#brakes.count + 100) {
      for (const id of this.#selectors.keys()) if (!this.#brakes.active(id)) this.#selectors.delete(id);
    }
    const selector = fromJson(SelectorSchema, brake.selector);
    const compiled = recompileSelector(selector, new Reach(brake.scopes));
    this.#selectors.set(brake.brakeId, compiled);
    return compiled;
  }

  /** True until the brake has looked at everything on the engine, also at what is paused already. */
  isFirstLook(brake: Brake, engine: string): boolean {
    return !this.#looked.has(`${brake.brakeId} ${engine}`);
  }

  /** Everything is to be looked at once more: something was held that nobody told of. */
  lookAgain(): void {
    this.#looked.clear();
  }

  looked(brake: Brake, engine: string): void {
    this.#looked.add(`${brake.brakeId} ${engine}`);
  }
}

/**
 * The holds that a brake is to get on these workflows: those that its selector matches and, where it takes descendants along,
 * the children of what it holds. Workflows that have one already get none.
 *
 * @param look what is caught at the engagement and what is at the first look afterwards was there when it was engaged, as far as it
 *   is as old by the engine's clock; what is caught later was not.
 * @param byGate the engine's own ids of those that stand paused because a gate held them: that is ours, not somebody else's.
 */
export function catchAll(
  brakes: Brakes,
  selector: CompiledSelector,
  brake: Brake,
  engine: string,
  rows: readonly EngineWorkflow[],
  look: "engagement" | "first" | "later",
  byGate: ReadonlySet<string> = new Set(),
): Hold[] {
  // At the engagement it is asked for with the brake, however long it takes to write it all.
  const now = look === "engagement" ? (brake.engageTime ?? Date.now()) : Date.now();
  const found = new Map<string, Hold>();
  let order = brakes.holdCount(brake.brakeId);
  const isHeld = (workflowId: string) => {
    const hold = brakes.hold(brake.brakeId, workflowId);
    return found.has(workflowId) || (hold !== undefined && !hold.halt.settled && holds({ brake, hold }));
  };
  let traits: Traits | undefined;
  const take = (row: EngineWorkflow, workflowId: string, caughtThrough: string): void => {
    const { type, labels } = row;
    // Those of a fleet are mostly the same.
    if (traits?.type !== type || traits.labels !== labels) traits = { type, labels };
    const shown = byGate.has(row.id) ? "running" : row.status;
    const missed = look === "first" && row.createTime.getTime() <= (brake.engageTime ?? 0);
    found.set(workflowId, {
      brakeId: brake.brakeId,
      workflowId,
      traits,
      name: row.name,
      catchTime: now,
      late: look !== "engagement" && !missed,
      ...(missed && { missed }),
      caughtThrough,
      order: order++,
      ended: false,
      halt: beginHalt(shown, brakes.on(workflowId), now),
    });
  };
  const orphans: EngineWorkflow[] = [];
  for (const row of rows) {
    const workflowId = formatWorkflowId(engine, row.id);
    if (brakes.hold(brake.brakeId, workflowId) !== undefined || endedStatuses.includes(row.status)) continue;
    if (!selector.admits(engine, row)) continue;
    if (selector.matches(engine, row)) take(row, workflowId, "");
    else if (row.parentId !== undefined) orphans.push(row);
  }
  if (!brake.includeDescendants) return [...found.values()];
  // A child may stand before its parent in the rows: until nothing new is found.
  let children = orphans;
  for (let before = -1; before !== children.length; ) {
    before = children.length;
    for (const row of children) {
      const parent = formatWorkflowId(engine, row.parentId ?? "");
      if (isHeld(parent)) take(row, formatWorkflowId(engine, row.id), parent);
    }
    children = children.filter((row) => !found.has(formatWorkflowId(engine, row.id)));
  }
  return [...found.values()];
}
