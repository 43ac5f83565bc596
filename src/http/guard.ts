import { MissionControlError } from "../errors.ts";

/** The longest token that is looked at, in characters. */
const maxTokenLength = 8 * 1024;
const bearer = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;

/**
 * Throws unless there is exactly one Authorization header, and it looks like a signed JWT. Costs next to nothing, and runs
 * before anything of the body is read; whether the token is good is for the chain to say.
 *
 * @param rawHeaders names and values in turn, as they were sent: the parsed headers hide that there were two.
 */
export function checkToken(rawHeaders: readonly string[]): void {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === "authorization") values.push(rawHeaders[i + 1] ?? "");
  }
  const [value, second] = values;
  if (value === undefined) {
    throw new MissionControlError(
      "TOKEN_MISSING",
      'there is no token: send "Authorization: Bearer <JWT>" (dev mode: npx mctl token)',
    );
  }
  if (second !== undefined) throw malformed("there is more than one Authorization header: send one");
  if (value.length > maxTokenLength) throw malformed(`the Authorization header is longer than ${maxTokenLength} bytes`);
  if (!bearer.test(value)) {
    throw malformed(
      'the Authorization header is not "Bearer " and a signed JWT (three base64url parts with dots between)',
    );
  }
}

function malformed(message: string): MissionControlError {
  return new MissionControlError("TOKEN_MALFORMED", message);
}
