import { type Brake, Brake_State as State } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { formatDuration } from "../duration.ts";
import type { ProgressView } from "../progress.ts";
import type { Style, Terminal } from "../terminal.ts";
import { renderBar } from "./bar.ts";
import { stateName } from "./brake.ts";
import { describeOutage } from "./outage.ts";
import { cut, printable } from "./text.ts";

/** What is known of a brake at a moment. */
export interface BrakeMoment {
  readonly brake: Brake;
  /** When it was learned, by performance.now(). */
  readonly at: number;
  /** For how long it had been engaged then, in ms. */
  readonly elapsedMs: number | undefined;
  /** Workflows a second that came to stand, or were let go; undefined where that is not known yet. */
  readonly rate: number | undefined;
}

/** How far a brake, or its release, has come. */
interface Extent {
  readonly verb: "standing" | "released";
  readonly done: number;
  readonly of: number;
  readonly style: Style;
  /** What else there is to say, the most important first. */
  readonly rest: readonly string[];
}

/** True while a release of it is on its way, or has ended. */
export function isReleasing({ state, release }: Brake): boolean {
  return release !== undefined && (state === State.RELEASED || state === State.EXPIRED || release.haltedBecause === "");
}

function extent({ brake, rate }: BrakeMoment, elapsedMs: number | undefined): Extent {
  const perSecond = rate === undefined || rate === 0 ? [] : [`${rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`];
  const elapsed = elapsedMs === undefined ? [] : [formatDuration(elapsedMs)];
  const { receipt, release } = brake;
  if (release !== undefined && isReleasing(brake)) {
    const of = release.released + release.remaining;
    return {
      verb: "released",
      done: release.released,
      of,
      style: "green",
      rest: [`${release.remaining} remaining`, ...stage(release.released, of, release.staged?.percent), ...perSecond],
    };
  }
  const {
    matched = 0,
    standing = 0,
    halting = 0,
    pending = 0,
    ended = 0,
    gates = [],
    unreachableEngines = [],
  } = receipt ?? {};
  const acknowledged = gates.filter((gate) => gate.ackTime !== undefined).length;
  return {
    verb: "standing",
    done: standing,
    of: matched,
    style: "magenta",
    rest: [
      ...unreachableEngines.map(describeOutage),
      `${halting} halting`,
      `${pending} pending`,
      ...(gates.length > 0 ? [`gates ${acknowledged}/${gates.length}`] : []),
      ...elapsed,
      ...(ended > 0 ? [`${ended} ended`] : []),
      ...perSecond,
    ],
  };
}

/** The stage of a staged release that the number released belongs to. */
function stage(released: number, of: number, percent: number | undefined): string[] {
  if (percent === undefined || of === 0) return [];
  const size = Math.max(1, Math.ceil((of * percent) / 100));
  return [`stage ${Math.max(1, Math.ceil(released / size))} of ${Math.ceil(of / size)}`];
}

/** Progress of a brake or of its release. */
export function brakeProgress(terminal: Terminal): ProgressView<BrakeMoment> {
  return {
    line: (moment) => {
      const { brake } = moment;
      if (brake.state === State.AWAITING_APPROVAL) return awaiting(brake);
      const { verb, done, of, rest } = extent(moment, moment.elapsedMs);
      return `${stateName(brake.state)}  ${done}/${of} ${verb}, ${rest.join(", ")}`;
    },
    bar: (moment, columns) => {
      const { brake, elapsedMs, at } = moment;
      const ellipsis = terminal.unicode ? "…" : "~";
      if (brake.state === State.AWAITING_APPROVAL) return cut(awaiting(brake), columns, ellipsis);
      const now = elapsedMs === undefined ? undefined : elapsedMs + (performance.now() - at);
      const { verb, done, of, style, rest } = extent(moment, now);
      return renderBar(terminal, { done, of, style, texts: [`${done}/${of} ${verb}`, ...rest] }, columns);
    },
  };
}

function awaiting({ approval }: Brake): string {
  return printable(`AWAITING_APPROVAL  holds nothing yet; ${approval?.matched ?? 0} matched when it was asked for`);
}
