import type { Interceptor } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { Verify } from "../identity/verify.ts";
import { callOf } from "./context.ts";
import { withExpiry } from "./expiry.ts";

/** Who calls: by the token of the Authorization header, and by nothing else. A stream ends when its token does. */
export function authenticateLink(verify: Verify): Interceptor {
  return (next) => async (req) => {
    const principal = await verify(bearerToken(req.header));
    callOf(req.contextValues).principal = principal;
    return req.stream ? withExpiry(next, req, principal.expireTime) : next(req);
  };
}

function bearerToken(header: Headers): string {
  const value = header.get("authorization");
  if (value === null || value === "") {
    throw new MissionControlError(
      "TOKEN_MISSING",
      'there is no token: send "Authorization: Bearer <JWT>" (dev mode: npx mctl token)',
    );
  }
  const token = /^Bearer +([^\s,]+)$/i.exec(value)?.[1];
  if (token === undefined) {
    throw new MissionControlError("TOKEN_MALFORMED", 'the Authorization header is not "Bearer <JWT>", once');
  }
  return token;
}
