import * as z from "zod";
import { duration, section, text } from "../section.ts";

/** How far brakes may go. */
export const brakes = section({
  /** Role → the most workflows that it may brake without a second person, or "unlimited". Replaces the default. */
  blast_radius: z
    .record(
      text(),
      z.union([z.int().min(0).transform(Number), z.literal("unlimited").transform(() => Number.POSITIVE_INFINITY)], {
        error: 'has to be a number of workflows from 0, or "unlimited"',
      }),
    )
    .optional(),
  /** The longest that a brake may hold; by default until somebody releases it. */
  longest: duration("1m", "365d").optional(),
}).transform(({ blast_radius, longest }) => ({ blastRadius: blast_radius, longestBrakeMs: longest }));
