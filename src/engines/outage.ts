import { MissionControlError } from "../errors.ts";

/** True where an engine did not answer, or what answered was no answer. */
export function isOutage(error: unknown): error is MissionControlError {
  return error instanceof MissionControlError && error.reason === "ENGINE_UNAVAILABLE";
}

/**
 * Asks one of several engines, and waits no longer for it than this: a slow one delays nobody. Rejects with ENGINE_UNAVAILABLE
 * where it did not answer, with the signal's reason where that is aborted.
 */
export async function within<Answer>(
  engine: string,
  ms: number,
  signal: AbortSignal | undefined,
  ask: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const late = AbortSignal.timeout(ms);
  try {
    return await ask(signal === undefined ? late : AbortSignal.any([signal, late]));
  } catch (error) {
    if (!late.aborted || signal?.aborted) throw error;
    throw new MissionControlError("ENGINE_UNAVAILABLE", `engine "${engine}" did not answer within ${ms} ms`, {
      metadata: { engine },
      cause: error,
    });
  }
}
