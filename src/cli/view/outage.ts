import type { EngineOutage } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { clock } from "./time.ts";

/** "restate-eu unreachable since 12:03:07; 41 last known to match" */
export function describeOutage({ engine, since, lastKnown }: EngineOutage): string {
  const away = `${engine} unreachable${since ? ` since ${clock(since)}` : ""}`;
  return `${away}; ${lastKnown === undefined ? "what matches there is not known yet" : `${lastKnown} last known to match`}`;
}
