import type { HandlerContext } from "@connectrpc/connect";
import type { Workflow } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Principal } from "../identity/principal.ts";
import { type Call, callKey } from "../interceptors/context.ts";

/** What the chain established before a service runs. Throws where it did not run: then nothing may be done. */
export function callerOf(context: HandlerContext): { call: Call; principal: Principal; entryId: string } {
  const call = context.values.get(callKey);
  if (!call?.principal || call.entryId === undefined) throw new Error("a service was reached without the chain");
  return { call, principal: call.principal, entryId: call.entryId };
}

/** The workflow that the chain looked up for the policy. */
export function targetOf(call: Call): Workflow {
  if (!call.target)
    throw new Error("a service needs the workflow that its request names: its method has no target_field");
  return call.target;
}
