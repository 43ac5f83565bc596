import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Brake,
  WatchBrakeResponse_Kind as Kind,
  type WatchBrakeResponse,
} from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { follow } from "./follow.ts";
import { type Progress, startProgress } from "./progress.ts";
import type { Session } from "./session.ts";
import type { Screen, Terminal } from "./terminal.ts";
import { type BrakeMoment, brakeProgress, isReleasing } from "./view/brake-progress.ts";
import { printable } from "./view/text.ts";
import { clock } from "./view/time.ts";

/** How following a brake ended. */
export type Ending =
  /** What was waited for is so. */
  | { readonly kind: "reached" }
  /** The brake was let go. */
  | { readonly kind: "over" }
  /** The time was up. */
  | { readonly kind: "timeout" }
  /** The user interrupted. */
  | { readonly kind: "interrupted" }
  | { readonly kind: "failed"; readonly error: unknown };

/** What to follow, for how long, and how to show it. */
export interface FollowOptions {
  /** The brake as it was last seen: it is there, so that an outage is waited for. Absent: it may not be. */
  readonly last?: Brake;
  /** At most this long, in ms; absent: until it is over. */
  readonly limitMs?: number;
  /** Where progress is shown; absent: nowhere. */
  readonly screen?: Screen | undefined;
  /** Ends it. */
  reached?(brake: Brake): boolean;
  event?(event: WatchBrakeResponse): void;
}

/** Follows a brake across outages. Never throws: the brake that was seen last matters whatever went wrong. */
export async function followBrake(
  session: Session,
  brakeId: string,
  options: FollowOptions,
): Promise<{ readonly brake: Brake | undefined; readonly ending: Ending }> {
  const { brakes, settings, terminal } = session;
  const { limitMs, screen, reached = () => false } = options;
  const timeout = limitMs === undefined ? undefined : AbortSignal.timeout(limitMs);
  const signal = timeout ? AbortSignal.any([session.signal, timeout]) : session.signal;
  const progress = screen && startProgress(screen, brakeProgress(terminal));
  const meter = rateMeter();
  let brake = options.last;
  const ended = (ending: Ending) => ({ brake, ending });
  try {
    if (brake !== undefined && reached(brake)) return ended({ kind: "reached" });
    const note = (text: string) => progress?.aside(() => terminal.note(text));
    const events = follow({ signal, server: settings.server, note, seen: brake !== undefined }, (call) =>
      brakes.watchBrake({ brakeId }, call),
    );
    for await (const event of events) {
      const before = brake;
      brake = event.brake ?? brake;
      options.event?.(event);
      if (brake === undefined) continue;
      if (progress) showEvent(event, before, momentOf(brake, event, meter), progress, terminal);
      // That all stood is worth more than that it was let go right afterwards.
      if (reached(brake)) return ended({ kind: "reached" });
      if (event.kind === Kind.OVER) return ended({ kind: "over" });
    }
    return ended({ kind: "over" });
  } catch (error) {
    if (session.signal.aborted) return ended({ kind: "interrupted" });
    return ended(timeout?.aborted ? { kind: "timeout" } : { kind: "failed", error });
  } finally {
    progress?.end();
  }
}

/** Shows an event; what must not be overlooked gets a line of its own. */
function showEvent(
  { kind }: WatchBrakeResponse,
  before: Brake | undefined,
  moment: BrakeMoment,
  progress: Progress<BrakeMoment>,
  terminal: Terminal,
): void {
  const { brakeId, expireTime, release } = moment.brake;
  progress.show(moment);
  if (kind === Kind.EXPIRES_SOON && expireTime) {
    progress.aside(() => terminal.note(`mctl: ${printable(brakeId)} releases by itself at ${clock(expireTime)}\n`));
  }
  if (release?.haltedBecause && release.haltedBecause !== before?.release?.haltedBecause) {
    const text = `HELD AGAIN: ${printable(release.haltedBecause)}`;
    progress.aside(() => terminal.note(`${terminal.paint(text, ["bold", "red"])}\n`));
  }
}

function momentOf(brake: Brake, { eventTime }: WatchBrakeResponse, meter: ReturnType<typeof rateMeter>): BrakeMoment {
  const since = brake.receipt?.requestTime ?? brake.engageTime;
  const done = (isReleasing(brake) ? brake.release?.released : brake.receipt?.standing) ?? 0;
  return {
    brake,
    at: performance.now(),
    elapsedMs: since && eventTime && Math.max(0, timestampMs(eventTime) - timestampMs(since)),
    rate: meter(done),
  };
}

/** The rate is that of the last few seconds, from at most as many events as the server sends in them. */
const rateWindowMs = 5_000;
const maxSamples = 64;

/** Takes a count that grows, and tells by how many a second; undefined where there is no telling yet. */
function rateMeter(): (done: number) => number | undefined {
  let samples: { readonly at: number; readonly done: number }[] = [];
  return (done) => {
    const at = performance.now();
    // A count that falls is another count: that of a release after that of the standstill.
    if (done < (samples.at(-1)?.done ?? 0)) samples = [];
    samples = [...samples.filter((sample) => at - sample.at < rateWindowMs), { at, done }].slice(-maxSamples);
    const first = samples[0];
    if (first === undefined || at - first.at < 200) return undefined;
    return ((done - first.done) * 1000) / (at - first.at);
  };
}
