import type { Interceptor } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import type { Verify } from "../identity/verify.ts";
import { type Call, callOf } from "./context.ts";
import { withExpiry } from "./expiry.ts";

/** Finds out who calls, and puts them into the call. Rejects with TOKEN_MISSING, TOKEN_INVALID and the like. */
export type Authenticate = (call: Call, header: Headers) => Promise<Principal>;

/**
 * Who calls: by the token of the Authorization header, and by nothing else. The port asks before it reads a body; the chain
 * asks again, for which the verifier has an answer at hand, so that no call passes it on the port's word alone.
 */
export function authenticator(verify: Verify): Authenticate {
  return async (call, header) => {
    const principal = await verify(bearerToken(header));
    call.principal = principal;
    return principal;
  };
}

/** Lets in whom `authenticate` knows. A stream ends when its token does. */
export function authenticateLink(authenticate: Authenticate): Interceptor {
  return (next) => async (req) => {
    const principal = await authenticate(callOf(req.contextValues), req.header);
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
