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
  /** How many may have come or gone between the asking and the approval: the greater of both. */
  drift_tolerance: section({
    workflows: z.int("has to be a number of workflows from 0").min(0, "has to be a number of workflows from 0"),
    percent: z.number().min(0, "has to be a number from 0 to 100").max(100, "has to be a number from 0 to 100"),
  }).optional(),
  /** An emergency above the radius is released where nobody has approved it by then. */
  approve_within: duration("1m", "7d").optional(),
  /** The most workflows that are let go in one second on each engine. */
  release_rate: z
    .int("has to be a number of workflows from 1 to 1000000")
    .min(1, "has to be a number of workflows from 1 to 1000000")
    .max(1_000_000, "has to be a number of workflows from 1 to 1000000")
    .optional(),
}).transform(({ blast_radius, longest, drift_tolerance, approve_within, release_rate }) => ({
  blastRadius: blast_radius,
  longestBrakeMs: longest,
  ...(drift_tolerance && {
    driftTolerance: { count: drift_tolerance.workflows, percent: drift_tolerance.percent },
  }),
  ...(approve_within !== undefined && { approveWithinMs: approve_within }),
  ...(release_rate !== undefined && { releaseRate: release_rate }),
}));
