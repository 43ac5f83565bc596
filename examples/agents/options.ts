import type { ServiceOptions } from "@restatedev/restate-sdk";

/**
 * For agents whose steps take up to 5 s: the engine asks for suspension when nothing happened for `inactivityTimeout`, and
 * cuts the attempt off after a further `abortTimeout`. Both are well above the longest step.
 */
export const stepOptions: ServiceOptions = {
  inactivityTimeout: { seconds: 15 },
  abortTimeout: { minutes: 2 },
  journalRetention: { days: 1 },
};
