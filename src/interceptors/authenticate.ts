import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { Gate } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { GateTokens } from "../identity/gate-tokens.ts";
import type { Principal } from "../identity/principal.ts";
import type { Verify } from "../identity/verify.ts";
import { type Call, callOf } from "./context.ts";
import { type Standing, whileInStanding } from "./standing.ts";

/** Finds out who calls, and puts them into the call. Rejects with TOKEN_MISSING, TOKEN_INVALID and the like. */
export type Authenticate = (call: Call, header: Headers) => Promise<Principal>;

/** True for the RPCs that gates call, which is not for people: they are entered with a gate token, and by nobody with another. */
export function isForGates(method: string): boolean {
  return method.startsWith(`${Gate.typeName}/`);
}

/**
 * Who calls: by the token of the Authorization header, and by nothing else. What kind of token it has to be is the method's to
 * say, not the token's: a gate's opens nothing of the API for people, and the other way round. The port asks before it reads a body; the chain
 * asks again, for which the verifier has an answer at hand, so that no call passes it on the port's word alone.
 */
export function authenticator(verify: Verify, gateTokens: Pick<GateTokens, "verify">): Authenticate {
  return async (call, header) => {
    const token = bearerToken(header);
    const principal = isForGates(call.method)
      ? await gateTokens.verify(token)
      : await verify(token, { certificate: call.clientCertificateThumbprint });
    call.principal = principal;
    return principal;
  };
}

/**
 * Lets in whom `authenticate` knows. A stream ends when its caller would not be let in any more: by the token's end, and every
 * 10 s, or at once where there is reason to doubt, by `authenticate` and `authorize` again.
 *
 * @param authorize throws where the call's principal may not use the RPC, as of now.
 */
export function authenticateLink(
  authenticate: Authenticate,
  authorize: (call: Call, method: DescMethod) => Promise<void> | void,
  onDoubt: Standing["onDoubt"],
): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { expireTime } = await authenticate(call, req.header);
    if (!req.stream) return next(req);
    const check = async () => {
      await authenticate(call, req.header);
      await authorize(call, req.method);
    };
    return whileInStanding(next, req, { expireTime, check, onDoubt });
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
