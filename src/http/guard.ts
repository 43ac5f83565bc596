import { MissionControlError } from "../errors.ts";

/** The longest token that is looked at, in characters. */
const maxTokenLength = 8 * 1024;
const gateBearer = /^Bearer mcgt_[A-Za-z0-9_-]{43}$/i;
const bearer = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;

/**
 * Throws unless there is exactly one Authorization header, and it looks like a signed JWT, or, for what
 * gates call, like a gate token. Costs next to nothing, and runs
 * before anything of the body is read; whether the token is good is for the chain to say.
 *
 * @param rawHeaders names and values in turn, as they were sent: the parsed headers hide that there were two.
 * @param kind what is to be sent to where the request goes.
 */
export function checkToken(rawHeaders: readonly string[], kind: "jwt" | "gate-token" = "jwt"): void {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === "authorization") values.push(rawHeaders[i + 1] ?? "");
  }
  const [value, second] = values;
  if (value === undefined) throw new MissionControlError("TOKEN_MISSING", missing[kind]);
  if (second !== undefined) throw malformed("there is more than one Authorization header: send one");
  if (value.length > maxTokenLength) throw malformed(`the Authorization header is longer than ${maxTokenLength} bytes`);
  if (kind === "gate-token") {
    if (gateBearer.test(value)) return;
    throw malformed("gates attach with a gate token (mctl gate token create), and with nothing else");
  }
  if (gateBearer.test(value)) throw malformed("a gate token is for attaching gates, and opens nothing else");
  if (!bearer.test(value)) {
    throw malformed(
      'the Authorization header is not "Bearer " and a signed JWT (three base64url parts with dots between)',
    );
  }
}

const missing = {
  jwt: 'there is no token: send "Authorization: Bearer <JWT>" (dev mode: npx mctl token)',
  "gate-token": 'there is no token: send "Authorization: Bearer <gate token>" (mctl gate token create)',
};

function malformed(message: string): MissionControlError {
  return new MissionControlError("TOKEN_MALFORMED", message);
}
