import type { Brakes } from "./brakes.ts";

/** Resolves to true as soon as `done` holds, to false after the time or when the signal aborts. Looks again at every change. */
export function until(brakes: Brakes, done: () => boolean, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (result: boolean) => {
      off();
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    const onAbort = () => finish(false);
    const off = brakes.onChange(() => {
      if (done()) finish(true);
    });
    const timer = setTimeout(() => finish(done()), ms);
    signal.addEventListener("abort", onAbort, { once: true });
    if (done()) finish(true);
    else if (signal.aborted) finish(false);
  });
}
