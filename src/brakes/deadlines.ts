import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { type DeadlineAtRisk, DeadlineAtRiskSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import type { Engine, EngineWorkflow } from "../engines/engine.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";

/** Where a brake does not expire, what is due within this time is at risk, ms. */
export const horizonMs = 60 * 60_000;
/** Of very many workflows only so many are asked for their timers; so many deadlines are told. */
const limits = { asked: 2_000, told: 100 } as const;

/** What is due for these workflows before the moment, though they are held; the soonest first. */
export async function deadlinesAtRisk(
  byEngine: ReadonlyMap<Engine, readonly EngineWorkflow[]>,
  before: Date,
  signal?: AbortSignal,
): Promise<DeadlineAtRisk[]> {
  const found: { engine: string; id: string; dueTime: Date; what: string }[] = [];
  for (const [engine, rows] of byEngine) {
    const ids = rows.slice(0, limits.asked).map(({ id }) => id);
    for (const timer of await engine.timers(ids, signal)) found.push({ engine: engine.name, ...timer });
    for (const { id, status, dueTime } of rows) {
      if (status === "pending" && dueTime) found.push({ engine: engine.name, id, dueTime, what: "scheduled start" });
    }
  }
  return soonest(
    found
      .filter(({ dueTime }) => dueTime < before)
      .map(({ engine, id, dueTime, what }) =>
        create(DeadlineAtRiskSchema, {
          workflowId: formatWorkflowId(engine, id),
          dueTime: timestampFromDate(dueTime),
          what,
        }),
      ),
  );
}

/** As many as are told, the soonest first. */
export function soonest(deadlines: readonly DeadlineAtRisk[]): DeadlineAtRisk[] {
  const due = ({ dueTime }: DeadlineAtRisk) => (dueTime ? timestampMs(dueTime) : 0);
  return deadlines.toSorted((a, b) => due(a) - due(b)).slice(0, limits.told);
}
