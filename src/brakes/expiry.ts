import type { Brake } from "../store/brake.ts";

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
