import { Code } from "@connectrpc/connect";
import type { Brake } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { brakeLine } from "../../command-line.ts";
import { CliFailure, exitCodes, usageFailure } from "../../failure.ts";
import type { Ending } from "../../follow-brake.ts";

/** The longest wait that can be asked for, in ms. */
export const maxWaitMs = 3_600_000;

/** Throws a usage failure where the wait is too long. */
export function checkWait(waitMs: number): void {
  if (waitMs > maxWaitMs) throw usageFailure("--wait must be 1h or less");
}

/**
 * Throws where a wait ended otherwise than by what was waited for. `missed` says what was not seen in time, `stands` what
 * is so all the same.
 */
export function checkEnding(ending: Ending, brake: Brake, missed: string, stands: string): void {
  const look = `Look again: ${brakeLine("get", brake.brakeId)}`;
  if (ending.kind === "timeout") {
    throw new CliFailure(exitCodes.waitEnded, Code.DeadlineExceeded, `${missed}; ${stands}. ${look}`);
  }
  if (ending.kind === "interrupted") {
    throw new CliFailure(exitCodes.interrupted, Code.Canceled, `the wait was interrupted; ${stands}. ${look}`);
  }
  if (ending.kind === "failed") throw ending.error;
}
