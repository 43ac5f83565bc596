import { createHash } from "node:crypto";
import type { Scope, Traits } from "../store/brake.ts";

/**
 * The workflows that a caller reaches with one permission: the union of the scopes of all roles that give it. What is beyond
 * it does not exist for the caller.
 */
export class Reach {
  /** All there are and will be. */
  static readonly everything = new Reach(undefined);

  /** Undefined: everything. */
  readonly scopes: readonly Scope[] | undefined;
  #key: string | undefined;

  /** @param scopes each a part of it; undefined: everything. None: nothing. */
  constructor(scopes: readonly Scope[] | undefined) {
    this.scopes = scopes;
  }

  /** True where it ends somewhere: then there may be workflows beyond it. */
  get isLimited(): boolean {
    return this.scopes !== undefined;
  }

  /** True where the workflow is within it. One whose traits are not known is not, unless everything is. */
  admits(engine: string, traits: Traits | undefined): boolean {
    if (this.scopes === undefined) return true;
    return traits !== undefined && this.scopes.some((scope) => isWithin(scope, engine, traits));
  }

  /** True where something on the engine may be within it. */
  admitsEngine(engine: string): boolean {
    return this.scopes === undefined || this.scopes.some((scope) => scope.engines?.includes(engine) ?? true);
  }

  /** True where all that is on the engine is within it, whatever it may be. */
  coversEngine(engine: string): boolean {
    return this.covers([{ engines: [engine] }]);
  }

  /** Its parts on one engine; undefined: everything there. None: nothing. */
  on(engine: string): readonly Pick<Scope, "types" | "labels">[] | undefined {
    if (this.coversEngine(engine)) return undefined;
    return this.scopes
      ?.filter((scope) => scope.engines?.includes(engine) ?? true)
      .map(({ types, labels }) => ({ types, labels }));
  }

  /** True where nothing can be in one of these scopes that is not within it; undefined stands for everything. */
  covers(scopes: readonly Scope[] | undefined): boolean {
    const own = this.scopes;
    if (own === undefined) return true;
    return scopes?.every((inner) => own.some((outer) => contains(outer, inner))) ?? false;
  }

  /** What is within this one or within the other. */
  or(other: Reach): Reach {
    if (this.scopes === undefined || other.scopes === undefined) return Reach.everything;
    return new Reach([...this.scopes, ...other.scopes]);
  }

  /** The same for the same scopes, in this process and any other. */
  get key(): string {
    this.#key ??=
      this.scopes === undefined ? "" : createHash("sha256").update(JSON.stringify(this.scopes)).digest("base64url");
    return this.#key;
  }
}

function isWithin({ engines, types, labels }: Scope, engine: string, traits: Traits): boolean {
  return (
    (engines?.includes(engine) ?? true) &&
    (types?.includes(traits.type) ?? true) &&
    Object.entries(labels ?? {}).every(
      ([key, value]) => Object.hasOwn(traits.labels, key) && traits.labels[key] === value,
    )
  );
}

function contains(outer: Scope, inner: Scope): boolean {
  const within = (wide: readonly string[] | undefined, narrow: readonly string[] | undefined) =>
    wide === undefined || (narrow?.every((one) => wide.includes(one)) ?? false);
  return (
    within(outer.engines, inner.engines) &&
    within(outer.types, inner.types) &&
    Object.entries(outer.labels ?? {}).every(
      ([key, value]) => inner.labels !== undefined && Object.hasOwn(inner.labels, key) && inner.labels[key] === value,
    )
  );
}
