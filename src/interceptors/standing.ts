import type { Interceptor, StreamRequest } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";

type Next = Parameters<Interceptor>[0];

/** What setTimeout can wait at most: it takes more for 1 ms. */
const maxTimerMs = 2 ** 31 - 1;
/** How often it is looked whether a caller may still be there, ms. */
const lookEveryMs = 10_000;

/** Whether a caller may still be there. */
export interface Standing {
  /** When the token ends, ms since the epoch. */
  readonly expireTime: number;
  /** Rejects once the caller would not be let in any more. */
  readonly check: () => Promise<void>;
  /** Calls back when there is a reason to check at once; returns what calls that off. */
  readonly onDoubt: (listener: () => void) => () => void;
}

/**
 * Serves a streaming call for as long as its caller would be let in: a stream outlives its token, a revocation, a change of
 * roles. Then the handler's signal is aborted, and the stream ends with the error, whether the handler heeds its signal or not.
 */
export async function whileInStanding(next: Next, req: StreamRequest, standing: Standing): ReturnType<Next> {
  const over = new AbortController();
  const stop = watchStanding(standing, (error) => over.abort(error));
  try {
    const res = await next({ ...req, signal: AbortSignal.any([req.signal, over.signal]) });
    if (!res.stream) throw new Error("a streaming call was answered as a unary one");
    return { ...res, message: until(over.signal, res.message, stop) };
  } catch (error) {
    stop();
    throw error;
  }
}

/** Looks whether the caller would still be let in; calls back once, with why it is over. Returns what calls that off. */
export function watchStanding({ expireTime, check, onDoubt }: Standing, over: (error: unknown) => void): () => void {
  let looking = false;
  let again = false;
  const look = async () => {
    again = true;
    if (looking) return;
    looking = true;
    try {
      while (again) {
        again = false;
        await check();
      }
    } catch (error) {
      stop();
      over(error);
    } finally {
      looking = false;
    }
  };
  const stopDoubts = onDoubt(() => void look());
  const interval = setInterval(() => void look(), lookEveryMs).unref();
  const stopExpiry = at(expireTime, () => {
    stop();
    over(new MissionControlError("TOKEN_EXPIRED", "the token expired meanwhile: get a new one and call again"));
  });
  const stop = () => {
    stopDoubts();
    clearInterval(interval);
    stopExpiry();
  };
  return stop;
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
    // A source that hangs in its next() would let its return() wait for ever: a stream that is over does not wait for it.
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
