import { setTimeout as delay } from "node:timers/promises";
import type { HooksProvider } from "@restatedev/restate-sdk";

/** A shutdown that cuts no step off: a payment that was made but not recorded would be made again. */
export interface Shutdown {
  /** For the endpoint's service options. */
  readonly hooks: HooksProvider;
  /** Lets no further step begin; resolves when those in flight are done and told to the engine, or after `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** How long an answer takes to the engine on the same machine, generously. */
const flushMs = 200;

export function createShutdown(): Shutdown {
  let inFlight = 0;
  let draining = false;
  const idle = Promise.withResolvers<void>();
  const check = () => {
    if (draining && inFlight === 0) idle.resolve();
  };
  return {
    hooks: () => ({
      interceptor: {
        run: async (_name, next) => {
          // The step waits for the end of this process; the engine has it run by the next one.
          if (draining) return new Promise<never>(() => {});
          inFlight++;
          try {
            await next();
          } finally {
            inFlight--;
            check();
          }
        },
      },
    }),
    drain: async (graceMs) => {
      draining = true;
      check();
      await Promise.race([idle.promise.then(() => delay(flushMs)), delay(graceMs)]);
    },
  };
}
