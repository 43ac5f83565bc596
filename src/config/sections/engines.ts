import * as z from "zod";
import type { EngineConfig } from "../../engines/open.ts";
import { section } from "../section.ts";

const adminUrl = z.string().transform((given, context): EngineConfig["address"] => {
  const socketPath = /^unix:(\/.{1,100})$/.exec(given)?.[1];
  if (socketPath !== undefined) return { socketPath };
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) {
    const secure = url.protocol === "https:";
    return {
      host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: Number(url.port) || (secure ? 443 : 80),
      secure,
    };
  }
  context.addIssue({
    code: "custom",
    message: "has to be a URL like http://restate:9070 (without a path or a password), or unix: and a socket's path",
  });
  return z.NEVER;
});

/** The engines whose workflows are braked. */
export const engines = z
  .array(
    section({
      /** How it is called here; workflow ids start with it. */
      name: z
        .string()
        .regex(/^[a-z][a-z0-9-]{0,62}$/, "has to be 1 to 63 characters of a-z, 0-9 and -, a letter first"),
      /** What it is. */
      kind: z.enum(["restate"]),
      /** Its admin API. It has no authentication of its own: let nobody else reach it. */
      admin_url: adminUrl,
    }).transform(({ admin_url, ...engine }): EngineConfig => ({ ...engine, address: admin_url })),
  )
  .max(64)
  .superRefine((list, context) => {
    for (const [index, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) === index) continue;
      context.addIssue({
        code: "custom",
        path: [index, "name"],
        message: "is the name of another engine: choose another",
      });
    }
  });
