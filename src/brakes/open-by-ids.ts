import type { Engine, EngineWorkflow } from "../engines/engine.ts";

/** How many ids one query takes. */
const idsPerQuery = 1_000;
/** More than this are asked for without naming them: engines find all that is open faster than so many by their ids. */
const manyIds = 4_000;

/** Those of the ids that are open, as the engine shows them. */
export async function openByIds(
  engine: Engine,
  ids: readonly string[],
  signal?: AbortSignal,
): Promise<EngineWorkflow[]> {
  const shown: EngineWorkflow[] = [];
  const asked = new Set(ids);
  for (const query of ids.length > manyIds ? [{}] : chunks(ids).map((chunk) => ({ ids: chunk }))) {
    const rows = await engine.open({ anyOf: [query], children: false, paused: true }, signal);
    shown.push(...rows.filter(({ id }) => asked.has(id)));
  }
  return shown;
}

/** The ids in lists that one query takes. */
export function chunks(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / idsPerQuery) }, (_, n) =>
    ids.slice(n * idsPerQuery, (n + 1) * idsPerQuery),
  );
}
