import { ConnectError, type Interceptor } from "@connectrpc/connect";
import { callOf } from "./context.ts";

const header = "x-request-id";

/** Names the RPC in the call, and puts the call's id into every answer, errors too. */
export function requestIdLink(): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    call.method = `${req.service.typeName}/${req.method.name}`;
    try {
      const res = await next(req);
      res.header.set(header, call.id);
      return res;
    } catch (error) {
      if (error instanceof ConnectError) error.metadata.set(header, call.id);
      throw error;
    }
  };
}
