import { Code } from "@connectrpc/connect";
import type { Brake } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { CliFailure, exitCodes } from "../../failure.ts";

/** The brake of an answer. Throws where the server sent none. */
export function brakeOf(answer: { readonly brake?: Brake | undefined }): Brake {
  if (answer.brake !== undefined) return answer.brake;
  throw new CliFailure(exitCodes.error, Code.Internal, "the server answered without a brake");
}
