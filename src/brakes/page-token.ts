import { MissionControlError } from "../errors.ts";

/** A place in a list: what comes behind it is older, or as old with a smaller id. */
export interface Place {
  readonly createTime: Date;
  readonly id: string;
}

/** Newest first, then by the engine's id, descending: the order of every engine's list. */
export function compare(a: Place, b: Place): number {
  return b.createTime.getTime() - a.createTime.getTime() || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

/**
 * How far a list over several engines has come. All that answered have come to the same place; those that did not have stayed
 * behind (undefined: at the beginning), and what they run is shown when they answer again.
 */
export interface Progress {
  readonly common: Place | undefined;
  readonly behind: ReadonlyMap<string, Place | undefined>;
}

/** The place behind which an engine goes on. */
export function placeIn({ common, behind }: Progress, engine: string): Place | undefined {
  return behind.has(engine) ? behind.get(engine) : common;
}

/** Where the engines stand after a page that ended at `end`, for those that did not answer where they stood before. */
export function advance(
  before: Progress,
  end: Place,
  engines: readonly { name: string; answered: boolean }[],
): Progress {
  const places = engines.map(({ name, answered }) => {
    const place = placeIn(before, name);
    // One that was behind may be ahead of nobody: no engine goes back.
    return [name, answered && (place === undefined || compare(place, end) < 0) ? end : place] as const;
  });
  const furthest = places.map(([, place]) => place).reduce((a, b) => (a && (!b || compare(a, b) > 0) ? a : b), end);
  return {
    common: furthest,
    behind: new Map(places.filter(([, place]) => place !== furthest)),
  };
}

/** @param digest of the filters: a token is good only with those it was given out for. */
export function writePageToken({ common, behind }: Progress, digest: string): string {
  const parts = (place: Place | undefined) => (place === undefined ? null : [place.createTime.getTime(), place.id]);
  const others = [...behind].map(([engine, place]) => [engine, parts(place)]);
  return Buffer.from(JSON.stringify([digest, parts(common), others])).toString("base64url");
}

/** Throws INVALID_PAGE_TOKEN. */
export function readPageToken(token: string, digest: string): Progress {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (!Array.isArray(parsed) || parsed[0] !== digest || !Array.isArray(parsed[2]))
      throw new Error("not of this list");
    const behind = parsed[2].map((other: unknown): [string, Place | undefined] => {
      if (!Array.isArray(other) || typeof other[0] !== "string") throw new Error("no engine");
      return [other[0], placeOf(other[1])];
    });
    return { common: placeOf(parsed[1]), behind: new Map(behind) };
  } catch {
    // Said below: whatever is wrong with it, there is one thing to do.
  }
  throw new MissionControlError(
    "INVALID_PAGE_TOKEN",
    "this page_token is not of a list with these filters: begin without one",
    { violations: [{ field: "page_token", description: "not given out for these filters" }] },
  );
}

function placeOf(part: unknown): Place | undefined {
  if (part === null) return undefined;
  if (!Array.isArray(part) || !Number.isSafeInteger(part[0]) || typeof part[1] !== "string")
    throw new Error("no place");
  return { createTime: new Date(part[0]), id: part[1] };
}
