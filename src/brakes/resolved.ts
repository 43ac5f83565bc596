import { createHash } from "node:crypto";
import type { Engine, EngineWorkflow } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import type { CompiledSelector } from "./selector.ts";

/** An engine that did not answer, and since when it does not, in ms since the epoch. */
export interface UnreachableEngine {
  readonly engine: string;
  readonly message: string;
  readonly since: number;
}

/** What a selector matches now. */
export class Resolved {
  readonly selector: CompiledSelector;
  /** Open ones on each engine, descendants included where they are taken along. */
  readonly byEngine: ReadonlyMap<Engine, readonly EngineWorkflow[]>;
  readonly count: number;
  /** Engines that did not answer: what matches there is not among these. */
  readonly unreachable: readonly UnreachableEngine[];
  #ids: readonly string[] | undefined;
  #setHash: string | undefined;

  constructor(
    selector: CompiledSelector,
    byEngine: ReadonlyMap<Engine, readonly EngineWorkflow[]>,
    unreachable: readonly UnreachableEngine[],
  ) {
    this.selector = selector;
    this.byEngine = byEngine;
    this.unreachable = unreachable;
    this.count = byEngine.values().reduce((count, rows) => count + rows.length, 0);
  }

  /** All their ids, sorted. Made when they are asked for: a brake need not wait for it. */
  get ids(): readonly string[] {
    this.#ids ??= [...this.byEngine]
      .flatMap(([{ name }, rows]) => rows.map(({ id }) => formatWorkflowId(name, id)))
      .sort();
    return this.#ids;
  }

  /** SHA-256 over these, in hex. */
  get setHash(): string {
    this.#setHash ??= createHash("sha256").update(this.ids.join("\n")).digest("hex");
    return this.#setHash;
  }
}
