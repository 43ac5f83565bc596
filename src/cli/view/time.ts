import { type Duration, durationMs as protoDurationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { formatDuration } from "../duration.ts";

/** "08:35:12Z" */
export function clock(time: Timestamp): string {
  return `${iso(time).slice(11, 19)}Z`;
}

/** "08:35:12.401Z" */
export function preciseClock(time: Timestamp): string {
  return iso(time).slice(11);
}

/** "2026-11-22 08:35:12Z" */
export function dateTime(time: Timestamp): string {
  return `${iso(time).slice(0, 19).replace("T", " ")}Z`;
}

/** How long ago, "3m12s"; a dash where the moment is unset. */
export function age(time: Timestamp | undefined, now = Date.now()): string {
  return time === undefined ? "-" : formatDuration(Math.max(0, now - timestampMs(time)));
}

/** How long after. */
export function offset(from: Timestamp, to: Timestamp): string {
  return `+${formatDuration(timestampMs(to) - timestampMs(from))}`;
}

export function duration(value: Duration): string {
  return formatDuration(protoDurationMs(value));
}

function iso(time: Timestamp): string {
  return new Date(timestampMs(time)).toISOString();
}
