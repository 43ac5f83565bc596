import { resolve } from "node:path";
import * as z from "zod";

/**
 * A section of the configuration file: these keys and no others. A key that is not known is refused, with those that are, for
 * a misspelled one would be a rule that nobody keeps.
 */
export function section<Shape extends z.core.$ZodShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `is not known here: use one of ${Object.keys(shape).join(", ")}, or remove it`
        : undefined,
  });
}

/** A text that is shown to people, or compared: 1 to 512 printable characters. */
export function text(what = "has to be a text of 1 to 512 printable characters") {
  return z.string().regex(/^[^\p{C}]{1,512}$/u, what);
}

/** How something is called in the configuration, in health and in messages. */
export function name() {
  return z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, "has to be 1 to 63 characters of a-z, 0-9 and -, a letter first");
}

const loopback = ["127.0.0.1", "[::1]", "localhost"];

/** True where nobody can be in between: by TLS, or on this machine. */
export function isSafe(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || loopback.includes(hostname);
}

/** A file or folder. A relative path starts at the folder of the configuration file. */
export function path(baseDir: string) {
  return z
    .string()
    .regex(/^[^\0]{1,4096}$/, "has to be the path of a file or folder")
    .transform((given) => resolve(baseDir, given));
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A length of time like "250ms", "30s", "10m", "24h" or "30d", within these bounds; becomes ms. */
export function duration(least: string, most: string) {
  const message = `has to be a time from ${least} to ${most}, like 250ms, 30s, 10m, 24h or 30d`;
  return z.string().transform((given, context) => {
    const ms = milliseconds(given);
    if (ms !== undefined && ms >= (milliseconds(least) ?? 0) && ms <= (milliseconds(most) ?? 0)) return ms;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

function milliseconds(given: string): number | undefined {
  const [, count, unit = ""] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(given) ?? [];
  const factor = unitMs[unit];
  return factor === undefined ? undefined : Number(count) * factor;
}
