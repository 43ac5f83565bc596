/** The characters that a chart is drawn with, one column each. */
export interface Glyphs {
  readonly step: string;
  readonly wait: string;
  readonly inFlight: string;
  readonly moment: string;
  readonly failedAttempt: string;
  readonly paused: string;
  readonly pause: string;
  readonly standstill: string;
  readonly resume: string;
  readonly control: string;
  /** A bar that runs through a shortened stretch. */
  readonly throughGap: string;
  readonly axis: string;
  readonly tick: string;
  /** Either side of a shortened stretch on the axis. */
  readonly break: string;
  readonly below: string;
  readonly ellipsis: string;
}

export const unicodeGlyphs: Glyphs = {
  step: "█",
  wait: "━",
  inFlight: "▶",
  moment: "│",
  failedAttempt: "×",
  paused: "░",
  pause: "▼",
  standstill: "■",
  resume: "▲",
  control: "◆",
  throughGap: "┅",
  axis: "─",
  tick: "┬",
  break: "╱",
  below: "└",
  ellipsis: "…",
};

export const asciiGlyphs: Glyphs = {
  step: "#",
  wait: "=",
  inFlight: ">",
  moment: "|",
  failedAttempt: "x",
  paused: ":",
  pause: "v",
  standstill: "H",
  resume: "^",
  control: "*",
  throughGap: ".",
  axis: "-",
  tick: "|",
  break: "/",
  below: "`",
  ellipsis: "~",
};
