/** The clocks that identity goes by; tests bring their own. */
export interface Clock {
  /** The time of day that tokens are compared with, ms since the epoch. */
  date(): number;
  /** Time that only ever goes on, ms from anywhere: how old something is does not change when a clock is set. */
  elapsed(): number;
}

export const systemClock: Clock = { date: () => Date.now(), elapsed: () => performance.now() };
