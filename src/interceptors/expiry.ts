import type { Interceptor, StreamRequest } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";

type Next = Parameters<Interceptor>[0];

/** What setTimeout can wait at most: it takes more for 1 ms. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Serves a streaming call for as long as its token is good: then the handler's signal is aborted, and the stream ends with
 * UNAUTHENTICATED TOKEN_EXPIRED, whether the handler heeds its signal or not.
 *
 * @param expireTime ms since the epoch.
 */
export async function withExpiry(next: Next, req: StreamRequest, expireTime: number): ReturnType<Next> {
  const expiry = new AbortController();
  const stop = at(expireTime, () =>
    expiry.abort(
      new MissionControlError("TOKEN_EXPIRED", "the token expired while the stream ran: get a new one and call again"),
    ),
  );
  try {
    const res = await next({ ...req, signal: AbortSignal.any([req.signal, expiry.signal]) });
    if (!res.stream) throw new Error("a streaming call was answered as a unary one");
    return { ...res, message: until(expiry.signal, res.message, stop) };
  } catch (error) {
    stop();
    throw error;
  }
}

/** Calls back at a time, however far away; returns what calls it off. */
function at(time: number, then: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = () => {
    const left = time - Date.now();
    if (left <= 0) then();
    else timer = setTimeout(arm, Math.min(left, maxTimerMs)).unref();
  };
  timer = setTimeout(arm, 0).unref();
  return () => clearTimeout(timer);
}

async function* until<T>(signal: AbortSignal, source: AsyncIterable<T>, stop: () => void): AsyncIterable<T> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await orAborted(signal, iterator.next());
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    stop();
    // A source that hangs in its next() would let its return() wait for ever: an expired stream does not wait for it.
    const left = iterator.return?.();
    if (!signal.aborted) await left;
    else left?.catch(() => {});
  }
}

function orAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
