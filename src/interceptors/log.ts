import type { Interceptor } from "@connectrpc/connect";
import type { Logger } from "../log.ts";
import { callOf } from "./context.ts";
import { codeName, reasonOf, toConnectError } from "./errors.ts";
import { withEnd } from "./stream-end.ts";

/** One line for each call, when it has ended: who did what, and how it ended. Nothing of what was sent but the target. */
export function logLink(log: Logger): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const end = async (error: unknown): Promise<void> => {
      const failure = error === undefined ? undefined : toConnectError(error, req.signal);
      log.info(
        {
          callId: call.id,
          method: call.method,
          protocol: call.protocol,
          source: call.source,
          subject: call.principal?.subject,
          target: call.target?.workflowId,
          entryId: call.entryId,
          code: codeName(failure?.code),
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
