import type { Interceptor } from "@connectrpc/connect";
import type { Logger } from "../log.ts";
import { type Call, callOf } from "./context.ts";
import { codeName, reasonOf, toConnectError } from "./errors.ts";
import { withEnd } from "./stream-end.ts";

/** Hears of each call when it has ended, with the gRPC name of how. */
export type Ended = (call: Call, code: string) => void;

/**
 * One line for each call, when it has ended: who did what, and how it ended. Nothing of what was sent but the target.
 *
 * @param ended is told as well, for the metrics.
 */
export function logLink(log: Logger, ended: Ended): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const end = async (error: unknown): Promise<void> => {
      const failure = error === undefined ? undefined : toConnectError(error, req.signal);
      const code = codeName(failure?.code);
      ended(call, code);
      log.info(
        {
          callId: call.id,
          method: call.method,
          protocol: call.protocol,
          source: call.source,
          subject: call.principal?.subject,
          target: call.target?.workflowId,
          entryId: call.entryId,
          code,
          reason: failure && reasonOf(failure),
          durationMs: Date.now() - call.startTime,
        },
        "call",
      );
    };
    try {
      const res = await next(req);
      if (res.stream) return { ...res, message: withEnd(res.message, req.signal, end) };
      await end(undefined);
      return res;
    } catch (error) {
      await end(error);
      throw error;
    }
  };
}
