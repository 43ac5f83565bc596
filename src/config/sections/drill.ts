import * as z from "zod";
import { duration, section } from "../section.ts";

const startUrl = z.string().refine((given) => {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}, "has to be the URL that starts a canary, like http://restate:8080/Canary/run/send, without a password");

/** What drills of the brake are done with. */
export const drill = section({
  /** A drill on every engine that has a canary, again and again; by default only when asked for. */
  every: duration("1m", "24h").optional(),
  /** A harmless workflow for each engine: a few short steps that do nothing. */
  canaries: z
    .array(
      section({
        /** The engine's name. */
        engine: z.string(),
        /** A POST there starts one, and is answered with its `invocationId`. */
        start_url: startUrl,
      }).transform(({ engine, start_url }) => ({ engine, startUrl: start_url })),
    )
    .max(64),
});
