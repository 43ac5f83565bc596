import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Passes a stream on, and calls `end` once: when it has ended (with undefined, before the caller learns of it), failed, been
 * left by its reader, or when the call is aborted, even if nobody reads on. `end` must not reject.
 */
export function withEnd<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
  end: (error: unknown) => Promise<void>,
): AsyncIterable<T> {
  let ended: Promise<void> | undefined;
  const endOnce = (error: unknown): Promise<void> => {
    ended ??= end(error);
    return ended;
  };
  const onAbort = () => void endOnce(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });

  async function* pass(): AsyncIterable<T> {
    let outcome: unknown = new ConnectError("the stream was left by its reader", Code.Canceled);
    try {
      yield* source;
      outcome = undefined;
    } catch (error) {
      outcome = error;
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      await endOnce(outcome);
    }
  }
  return pass();
}
