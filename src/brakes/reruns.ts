import type { Engine, EngineWorkflow } from "../engines/engine.ts";

/** Of very many workflows only so many on each engine are asked for their steps. */
const asked = 1_000;

/**
 * How many of these workflows would run a step again on resume, if they were held now: those between two attempts, and, where
 * the engine cuts off a step in flight, those with one. Of very many, those that are not asked count as they would at the worst.
 */
export async function mayRerun(
  byEngine: ReadonlyMap<Engine, readonly EngineWorkflow[]>,
  signal?: AbortSignal,
): Promise<number> {
  const counts = [...byEngine].map(async ([engine, rows]) => {
    const cutsOff = engine.capabilities.stepInFlight === "reruns";
    // What has not begun, what waits and what stands has no step in flight, and none that failed.
    const moving = rows.filter(({ status, phase }) => status === "running" && phase !== "suspended");
    const ids = moving.slice(0, asked).map(({ id }) => id);
    const seen = [...(await engine.observe(ids, signal)).values()];
    const again = seen.filter(
      ({ phase, steps }) => phase === "backing-off" || (cutsOff && steps.some(({ endTime }) => endTime === undefined)),
    );
    return again.length + (cutsOff ? moving.length - ids.length : 0);
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}
