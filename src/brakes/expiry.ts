import { MissionControlError } from "../errors.ts";
import type { Brake } from "../store/brake.ts";

/**
 * How long a brake is to hold, in ms, where none may hold longer than `longestMs`: what is asked for, or the longest where
 * nothing is; undefined: until somebody releases it. Throws EXPIRY_TOO_LONG.
 */
export function boundedExpiry(expiresInMs: number | undefined, longestMs: number | undefined): number | undefined {
  if (longestMs === undefined || (expiresInMs !== undefined && expiresInMs <= longestMs)) return expiresInMs;
  if (expiresInMs === undefined) return longestMs;
  throw new MissionControlError(
    "EXPIRY_TOO_LONG",
    `brakes hold at most ${longestMs / 1000} s here, not ${expiresInMs / 1000} s: ask for less, and brake again if it has to go on`,
    { violations: [{ field: "expires_in", description: `at most ${longestMs / 1000}s` }] },
  );
}

/** How long before it releases by itself a brake is warned about; for a short one, a fifth of its time. */
const warnBeforeMs = 60_000;

/** When a brake releases by itself, in ms since the epoch; undefined: never, or not while it waits for approval. */
export function expireTimeOf(brake: Brake): number | undefined {
  if (brake.engageTime === undefined || brake.expiresInMs === undefined) return undefined;
  return brake.engageTime + brake.expiresInMs;
}

export function isExpired(brake: Brake, now: number): boolean {
  return brake.state === "ENGAGED" && (expireTimeOf(brake) ?? Number.POSITIVE_INFINITY) <= now;
}

/** True from the moment on at which people are told that it releases soon, once. */
export function isWarningDue(brake: Brake, now: number): boolean {
  const expireTime = expireTimeOf(brake);
  if (brake.state !== "ENGAGED" || brake.expiryWarned || expireTime === undefined) return false;
  return now >= expireTime - Math.min(warnBeforeMs, (brake.expiresInMs ?? 0) / 5);
}

/** True for an emergency that nobody approved in time. */
export function isUnapproved(brake: Brake, now: number): boolean {
  const { approval } = brake;
  return (
    brake.state === "ENGAGED" &&
    approval?.approveBy !== undefined &&
    approval.approvedBy === "" &&
    approval.approveBy <= now
  );
}
